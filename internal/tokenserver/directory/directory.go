// SPDX-License-Identifier: Apache-2.0

// Package directory holds the organizations, environments, identity providers
// and local users of the configuration: an immutable snapshot that a re-read of
// the file replaces whole. Users made just in time are in the database, not
// here.
package directory

import (
	"sync/atomic"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/text"
)

// LocalProvider is the identity provider id of the users below (contract
// section 4.1).
const LocalProvider = "mulesoft"

// RoleOrganizationAdministrator may manage the apps of the user's organization.
const RoleOrganizationAdministrator = "organization_administrator"

// Organization owns apps and users.
type Organization struct {
	ID   string
	Name string
	// ParentID is empty for a root organization.
	ParentID string
	Domain   string
	// OwnerID is the user that owns the organization and, at first, its apps.
	OwnerID           string
	CreatedAt         time.Time
	Environments      []Environment
	IdentityProviders []IdentityProvider
	// Assertions holds for every JWT bearer app of the organization, beside what
	// the app itself allows.
	Assertions Assertions
	Branding   Branding
}

// Assertions are what the platform allows every app of the JWT bearer grant and
// this server only those that say so. The zero value allows nothing.
type Assertions struct {
	// IdentityProviders are ids of the organization's providers whose users an
	// assertion may name.
	IdentityProviders []string
	// WithoutExpiry takes assertions that have no exp.
	WithoutExpiry bool
}

// Environment is a part of an organization that a scope may be limited to.
type Environment struct {
	ID, Name string
	// Type is design, sandbox or production.
	Type string
}

// IsProduction tells whether the environment is for production.
func (e Environment) IsProduction() bool { return e.Type == "production" }

// IdentityProvider vouches for users in JWT bearer assertions.
type IdentityProvider struct {
	ID, Name string
	// TrustAssertedGroups takes the groups of an assertion into the token.
	TrustAssertedGroups bool
}

// User is a local user.
type User struct {
	ID                  string
	OrganizationID      string
	Username            string
	FirstName, LastName string
	Email, PhoneNumber  string
	// IDProviderID is LocalProvider for users of the configuration.
	IDProviderID string
	Roles        []string
	// Groups are those of the configuration, or those that a provider with
	// TrustAssertedGroups has asserted.
	Groups    []string
	Enabled   bool
	CreatedAt time.Time
	// PasswordHash is an argon2id PHC string; empty: cannot sign in by password.
	PasswordHash string
}

// HasRole tells whether the user has the role.
func (u *User) HasRole(role string) bool {
	for _, r := range u.Roles {
		if r == role {
			return true
		}
	}
	return false
}

// Directory is one snapshot. It is never changed once made.
type Directory struct {
	organizations []*Organization
	users         []*User
	orgByID       map[string]*Organization
	userByID      map[string]*User
	userByName    map[userName]*User
	// orgByName has the names and the domains, as text.Name compares them, and
	// usersByName the users of all organizations.
	orgByName   map[string]*Organization
	usersByName map[string][]*User
}

type userName struct{ orgID, folded string }

// New makes a snapshot of what has been validated.
func New(organizations []Organization, users []User) *Directory {
	d := &Directory{
		orgByID: map[string]*Organization{}, userByID: map[string]*User{}, userByName: map[userName]*User{},
		orgByName: map[string]*Organization{}, usersByName: map[string][]*User{},
	}
	for i := range organizations {
		org := &organizations[i]
		d.organizations = append(d.organizations, org)
		d.orgByID[org.ID] = org
		for _, name := range []string{org.Name, org.Domain} {
			if key, err := text.Name(name); err == nil && d.orgByName[key] == nil {
				d.orgByName[key] = org
			}
		}
	}
	for i := range users {
		user := &users[i]
		d.users = append(d.users, user)
		d.userByID[user.ID] = user
		if name, err := text.Username(user.Username); err == nil {
			d.userByName[userName{user.OrganizationID, name}] = user
			d.usersByName[name] = append(d.usersByName[name], user)
		}
	}
	return d
}

// Organizations returns all, in the order of the configuration: the first is
// the one the administrator's client belongs to.
func (d *Directory) Organizations() []*Organization { return d.organizations }

// Organization returns one by its id.
func (d *Directory) Organization(id string) (*Organization, bool) {
	org, ok := d.orgByID[id]
	return org, ok
}

// OrganizationNamed returns the one with that id, or else the first with that name
// or domain.
func (d *Directory) OrganizationNamed(name string) (*Organization, bool) {
	if org, ok := d.orgByID[name]; ok {
		return org, true
	}
	key, err := text.Name(name)
	if err != nil {
		return nil, false
	}
	org, ok := d.orgByName[key]
	return org, ok
}

// User returns one by its id.
func (d *Directory) User(id string) (*User, bool) {
	user, ok := d.userByID[id]
	return user, ok
}

// UserByName returns the user of an organization with that name, as
// text.Username compares names: in any case, composed or not.
func (d *Directory) UserByName(orgID, username string) (*User, bool) {
	name, err := text.Username(username)
	if err != nil {
		return nil, false
	}
	user, ok := d.userByName[userName{orgID, name}]
	return user, ok
}

// UsersByName returns the users of every organization with that name.
func (d *Directory) UsersByName(username string) []*User {
	name, err := text.Username(username)
	if err != nil {
		return nil
	}
	return d.usersByName[name]
}

// Users returns the users of every organization in the order of the
// configuration.
func (d *Directory) Users() []*User { return d.users }

// Live holds the snapshot of the moment. The zero value is an empty directory.
type Live struct{ current atomic.Pointer[Directory] }

// NewLive makes a Live that holds d.
func NewLive(d *Directory) *Live {
	l := &Live{}
	l.Store(d)
	return l
}

// Load returns the snapshot of the moment.
func (l *Live) Load() *Directory {
	if d := l.current.Load(); d != nil {
		return d
	}
	return New(nil, nil)
}

// Store replaces the snapshot.
func (l *Live) Store(d *Directory) { l.current.Store(d) }
