// SPDX-License-Identifier: Apache-2.0

package user

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// ErrUnknown says that there is no such user, or no longer.
var ErrUnknown = errors.New("unknown user")

// People finds users, local ones and those whom a provider has asserted.
type People struct {
	Directory *directory.Live
	Store     storage.Users
}

// Find returns the user with that id. ErrUnknown when there is none, or when
// the identity provider that vouched for it is no longer configured.
func (p *People) Find(ctx context.Context, id string) (*directory.User, error) {
	dir := p.Directory.Load()
	if u, ok := dir.User(id); ok {
		return u, nil
	}
	record, err := p.Store.User(ctx, id)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, ErrUnknown
	}
	if err != nil {
		return nil, fmt.Errorf("reading user %s: %w", id, err)
	}
	provider, ok := providerOf(dir, record)
	if !ok {
		return nil, ErrUnknown
	}
	return Asserted(record, provider), nil
}

func providerOf(dir *directory.Directory, record storage.User) (directory.IdentityProvider, bool) {
	org, ok := dir.Organization(record.OrgID)
	if !ok {
		return directory.IdentityProvider{}, false
	}
	at := slices.IndexFunc(org.IdentityProviders, func(p directory.IdentityProvider) bool { return p.ID == record.IDProviderID })
	if at < 0 {
		return directory.IdentityProvider{}, false
	}
	return org.IdentityProviders[at], true
}

// Asserted is a user of an identity provider as every other user. It never has
// a role, and groups only while the provider is trusted with them.
func Asserted(record storage.User, provider directory.IdentityProvider) *directory.User {
	u := &directory.User{ID: record.ID, OrganizationID: record.OrgID, Username: record.Username, FirstName: record.FirstName,
		LastName: record.LastName, Email: record.Email, IDProviderID: record.IDProviderID, Enabled: !record.Disabled, CreatedAt: record.CreatedAt}
	if provider.TrustAssertedGroups {
		u.Groups = record.Groups
	}
	return u
}

// Claims are what a client may learn of a user, as OpenID Connect names it.
// https://openid.net/specs/openid-connect-core-1_0.html#StandardClaims
type Claims struct {
	Subject           string   `json:"sub"`
	PreferredUsername string   `json:"preferred_username,omitempty"`
	Name              string   `json:"name,omitempty"`
	GivenName         string   `json:"given_name,omitempty"`
	FamilyName        string   `json:"family_name,omitempty"`
	OrgID             string   `json:"org_id,omitempty"`
	Email             string   `json:"email,omitempty"`
	EmailVerified     *bool    `json:"email_verified,omitempty"`
	Groups            []string `json:"groups,omitempty"`
}

// ClaimsOf are the claims about u that scopes give: the username with openid,
// names and organization with profile, the address with email, the groups with
// groups, all of it with full and read:full.
func ClaimsOf(u *directory.User, scopes []string) Claims {
	has := func(scope string) bool {
		return slices.Contains(scopes, scope) || slices.Contains(scopes, oauth.ScopeFull) || slices.Contains(scopes, oauth.ScopeReadFull)
	}
	c := Claims{Subject: u.ID}
	if has(oauth.ScopeOpenID) {
		c.PreferredUsername = u.Username
	}
	if has(oauth.ScopeProfile) {
		c.Name, c.GivenName, c.FamilyName = strings.TrimSpace(u.FirstName+" "+u.LastName), u.FirstName, u.LastName
		c.OrgID = u.OrganizationID
	}
	if has(oauth.ScopeEmail) && u.Email != "" {
		// An administrator wrote the address of a local user; an asserted one is
		// only what a provider said.
		verified := u.IDProviderID == directory.LocalProvider
		c.Email, c.EmailVerified = u.Email, &verified
	}
	if has(oauth.ScopeGroups) {
		c.Groups = u.Groups
	}
	return c
}
