// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/text"
)

// Config is what the configuration file says of organizations and users.
type Config struct {
	Organizations []OrganizationConfig
	Users         []UserConfig
	// ReadFile reads a logo; nil: logos are not looked at.
	ReadFile func(file string) ([]byte, error)
}

// OrganizationConfig is one organization of the configuration.
type OrganizationConfig struct {
	// ID is a UUID that never changes.
	ID   string `yaml:"id"`
	Name string `yaml:"name"`
	// ParentID is empty for a root organization.
	ParentID string `yaml:"parentID"`
	Domain   string `yaml:"domain"`
	// OwnerID is a user below.
	OwnerID string `yaml:"ownerID"`
	// CreatedAt is RFC 3339; empty: the beginning of 1970.
	CreatedAt         string                   `yaml:"createdAt"`
	Environments      []EnvironmentConfig      `yaml:"environments"`
	IdentityProviders []IdentityProviderConfig `yaml:"identityProviders"`
	Assertions        AssertionsConfig         `yaml:"assertions"`
	Branding          BrandingConfig           `yaml:"branding"`
}

// AssertionsConfig holds for every JWT bearer app of an organization.
type AssertionsConfig struct {
	// IdentityProviders are ids among the organization's.
	IdentityProviders []string `yaml:"identityProviders"`
	WithoutExpiry     bool     `yaml:"withoutExpiry"`
}

// EnvironmentConfig is one environment of an organization.
type EnvironmentConfig struct {
	// ID is a UUID that never changes.
	ID   string `yaml:"id"`
	Name string `yaml:"name"`
	// Type is design, sandbox or production.
	Type string `yaml:"type"`
}

// IdentityProviderConfig is one identity provider of an organization.
type IdentityProviderConfig struct {
	ID                  string `yaml:"id"`
	Name                string `yaml:"name"`
	TrustAssertedGroups bool   `yaml:"trustAssertedGroups"`
}

// UserConfig is one local user.
type UserConfig struct {
	// ID is a UUID that never changes.
	ID             string   `yaml:"id"`
	OrganizationID string   `yaml:"organizationID"`
	Username       string   `yaml:"username"`
	FirstName      string   `yaml:"firstName"`
	LastName       string   `yaml:"lastName"`
	Email          string   `yaml:"email"`
	PhoneNumber    string   `yaml:"phoneNumber"`
	Roles          []string `yaml:"roles"`
	// Groups are what the scope groups tells apps.
	Groups []string `yaml:"groups"`
	// Enabled is true when left out.
	Enabled *bool `yaml:"enabled"`
	// CreatedAt is RFC 3339; empty: the beginning of 1970.
	CreatedAt string `yaml:"createdAt"`
	// PasswordHashFile is empty for a user who cannot sign in by password.
	PasswordHashFile string `yaml:"passwordHashFile"`
}

// Problem is one thing that is wrong with a Config.
type Problem struct {
	// Path is the field, such as organizations[1].environments[0].id.
	Path string
	// Message says what is wrong and what is right, to follow the path.
	Message string
}

// Build makes a Directory, or tells all that is wrong with c. readPasswordHash
// returns the hash that a file holds.
func (c Config) Build(readPasswordHash func(file string) (string, error)) (*Directory, []Problem) {
	b := builder{config: c, ids: map[string]string{}, names: map[userName]string{}}
	organizations := b.buildOrganizations()
	users := b.buildUsers(readPasswordHash)
	b.checkOwners()
	b.checkParents()
	if len(b.problems) > 0 {
		return nil, b.problems
	}
	return New(organizations, users), nil
}

// builder collects problems on its way.
type builder struct {
	config   Config
	ids      map[string]string // id → path of its first use
	names    map[userName]string
	problems []Problem
}

func (b *builder) addf(path, format string, args ...any) {
	b.problems = append(b.problems, Problem{Path: path, Message: fmt.Sprintf(format, args...)})
}

func (b *builder) buildOrganizations() []Organization {
	if len(b.config.Organizations) == 0 {
		b.addf("organizations", "at least one is needed: apps and users belong to an organization")
	}
	var organizations []Organization
	for i, c := range b.config.Organizations {
		path := fmt.Sprintf("organizations[%d]", i)
		b.id(path+".id", c.ID)
		b.text(path+".name", c.Name, true)
		b.text(path+".domain", c.Domain, false)
		organizations = append(organizations, Organization{
			ID: c.ID, Name: c.Name, ParentID: c.ParentID, Domain: c.Domain, OwnerID: c.OwnerID,
			CreatedAt:         b.time(path+".createdAt", c.CreatedAt),
			Environments:      b.environments(path, c.Environments),
			IdentityProviders: b.identityProviders(path, c.IdentityProviders),
			Assertions:        b.assertions(path+".assertions", c),
			Branding:          b.branding(path+".branding", c.Branding),
		})
	}
	return organizations
}

var environmentTypes = []string{"design", "sandbox", "production"}

func (b *builder) environments(parent string, configs []EnvironmentConfig) []Environment {
	var environments []Environment
	for i, c := range configs {
		path := fmt.Sprintf("%s.environments[%d]", parent, i)
		b.id(path+".id", c.ID)
		b.text(path+".name", c.Name, true)
		if !slices.Contains(environmentTypes, c.Type) {
			b.addf(path+".type", "must be design, sandbox or production, not %q", c.Type)
		}
		environments = append(environments, Environment(c))
	}
	return environments
}

func (b *builder) identityProviders(parent string, configs []IdentityProviderConfig) []IdentityProvider {
	var providers []IdentityProvider
	first := map[string]string{}
	for i, c := range configs {
		path := fmt.Sprintf("%s.identityProviders[%d]", parent, i)
		b.text(path+".id", c.ID, true)
		b.text(path+".name", c.Name, false)
		switch {
		case c.ID == LocalProvider:
			b.addf(path+".id", "%q is the server's own user directory", LocalProvider)
		case first[c.ID] != "":
			b.addf(path+".id", "is already used at %s", first[c.ID])
		case c.ID != "":
			first[c.ID] = path + ".id"
		}
		providers = append(providers, IdentityProvider(c))
	}
	return providers
}

// assertions may name only providers that the organization has.
func (b *builder) assertions(parent string, c OrganizationConfig) Assertions {
	for i, id := range c.Assertions.IdentityProviders {
		path := fmt.Sprintf("%s.identityProviders[%d]", parent, i)
		known := slices.ContainsFunc(c.IdentityProviders, func(p IdentityProviderConfig) bool { return p.ID == id })
		switch {
		case !known:
			b.addf(path, "the organization has no identity provider %q", id)
		case slices.Contains(c.Assertions.IdentityProviders[:i], id):
			b.addf(path, "%q is listed twice", id)
		}
	}
	return Assertions(c.Assertions)
}

func (b *builder) buildUsers(readPasswordHash func(string) (string, error)) []User {
	var users []User
	for i, c := range b.config.Users {
		path := fmt.Sprintf("users[%d]", i)
		b.id(path+".id", c.ID)
		b.organization(path+".organizationID", c.OrganizationID)
		b.username(path+".username", c)
		for field, written := range map[string]string{
			"firstName": c.FirstName, "lastName": c.LastName, "email": c.Email, "phoneNumber": c.PhoneNumber,
		} {
			b.text(path+"."+field, written, false)
		}
		for j, role := range c.Roles {
			if role != RoleOrganizationAdministrator {
				b.addf(fmt.Sprintf("%s.roles[%d]", path, j), "unknown role %q: the only one is %s", role, RoleOrganizationAdministrator)
			}
		}
		users = append(users, User{
			ID: c.ID, OrganizationID: c.OrganizationID, Username: c.Username, FirstName: c.FirstName, LastName: c.LastName,
			Email: c.Email, PhoneNumber: c.PhoneNumber, IDProviderID: LocalProvider, Roles: c.Roles, Groups: b.groups(path+".groups", c.Groups),
			Enabled: c.Enabled == nil || *c.Enabled, CreatedAt: b.time(path+".createdAt", c.CreatedAt),
			PasswordHash: b.passwordHash(path+".passwordHashFile", c.PasswordHashFile, readPasswordHash),
		})
	}
	return users
}

func (b *builder) groups(path string, groups []string) []string {
	for i, group := range groups {
		b.text(fmt.Sprintf("%s[%d]", path, i), group, true)
	}
	return groups
}

func (b *builder) organization(path, id string) {
	if id == "" {
		b.addf(path, "is required: the id of the organization the user belongs to")
	} else if !b.hasOrganization(id) {
		b.addf(path, "no organization has the id %s", id)
	}
}

func (b *builder) hasOrganization(id string) bool {
	return slices.ContainsFunc(b.config.Organizations, func(o OrganizationConfig) bool { return o.ID == id })
}

func (b *builder) username(path string, c UserConfig) {
	if !b.text(path, c.Username, true) {
		return
	}
	folded, err := text.Username(c.Username)
	if err != nil {
		b.addf(path, "%v", err)
		return
	}
	name := userName{c.OrganizationID, folded}
	if first, taken := b.names[name]; taken {
		b.addf(path, "%q is already used at %s (names are compared in lower case and composed: RFC 8265)", c.Username, first)
		return
	}
	b.names[name] = path
}

func (b *builder) passwordHash(path, file string, read func(string) (string, error)) string {
	if file == "" {
		return ""
	}
	hash, err := read(file)
	if err != nil {
		b.addf(path, "%v", err)
	}
	return hash
}

func (b *builder) checkOwners() {
	for i, c := range b.config.Organizations {
		path := fmt.Sprintf("organizations[%d].ownerID", i)
		owns := func(u UserConfig) bool { return u.ID == c.OwnerID }
		if c.OwnerID == "" {
			b.addf(path, "is required: the id of the user who owns the organization")
		} else if !slices.ContainsFunc(b.config.Users, owns) {
			b.addf(path, "no user has the id %s", c.OwnerID)
		}
	}
}

func (b *builder) checkParents() {
	parents := map[string]string{}
	for _, c := range b.config.Organizations {
		parents[c.ID] = c.ParentID
	}
	for i, c := range b.config.Organizations {
		path := fmt.Sprintf("organizations[%d].parentID", i)
		switch {
		case c.ParentID == "":
		case i == 0:
			b.addf(path, "the first organization is the root: it has no parent")
		case !b.hasOrganization(c.ParentID):
			b.addf(path, "no organization has the id %s", c.ParentID)
		case inCycle(parents, c.ID):
			b.addf(path, "leads back to the organization itself")
		}
	}
}

func inCycle(parents map[string]string, id string) bool {
	at := parents[id]
	for range parents {
		if at == id {
			return true
		}
		at = parents[at]
	}
	return false
}

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// id checks the form of an id and that no other thing has it.
func (b *builder) id(path, id string) {
	switch first := b.ids[id]; {
	case id == "":
		b.addf(path, "is required: a UUID that never changes; uuidgen makes one")
	case !uuidForm.MatchString(id):
		b.addf(path, "must be a UUID in lower case, not %q", id)
	case first != "":
		b.addf(path, "is already used at %s", first)
	default:
		b.ids[id] = path
	}
}

const maxText = 255

// text checks a text that people will read, and reports whether it is there and
// good.
func (b *builder) text(path, s string, required bool) bool {
	err := text.Shown(s)
	switch {
	case s == "" && required:
		b.addf(path, "is required")
	case len(s) > maxText:
		b.addf(path, "must not be longer than %d bytes", maxText)
	case err != nil:
		b.addf(path, "%v", err)
	default:
		return s != ""
	}
	return false
}

// time reads RFC 3339. What the file does not say must not change from one
// start to the next.
func (b *builder) time(path, written string) time.Time {
	if written == "" {
		return time.Unix(0, 0).UTC()
	}
	t, err := time.Parse(time.RFC3339, written)
	if err != nil {
		b.addf(path, "must be a time such as 2026-01-31T12:00:00Z, not %q", written)
	}
	return t.UTC()
}
