// SPDX-License-Identifier: Apache-2.0

package management

import (
	"slices"
	"strings"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/hierarchy"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/scopes"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/token"
)

type action int

const (
	read action = iota
	write
	// open needs a valid token, no permission.
	open
)

// scopesFor are the scopes that permit an action; each is enough.
var scopesFor = map[action][]string{
	read:  {oauth.ScopeReadConnectedApps, oauth.ScopeReadFull, oauth.ScopeFull, oauth.ScopeManageConnApps},
	write: {oauth.ScopeFull, oauth.ScopeManageConnApps},
}

// caller is the holder of a verified access token and what it permits.
type caller struct {
	token *token.AccessToken
	// user is the signed-in user; nil when an app calls on its own behalf.
	user *directory.User
	// directory is that of the moment the call began.
	directory *directory.Directory
}

// administrator tells whether a user with the role, which every call of a user
// needs, is behind the token. The role comes from the configuration alone.
func (c *caller) administrator() bool {
	return c.user != nil && c.user.Enabled && c.user.HasRole(directory.RoleOrganizationAdministrator)
}

// holds tells whether the token carries scope for org.
func (c *caller) holds(scope, org string) bool {
	return (!c.token.IsUser || c.administrator()) && hierarchy.Holds(c.directory, c.token, scope, org)
}

// sovereign tells whether the token stands for all that an administrator may do.
// An app that was allowed less, such as manage:orgconnapps alone, does not speak
// as the administrator: else it would give itself the rest.
func (c *caller) sovereign() bool {
	return c.administrator() && c.holds(oauth.ScopeFull, c.user.OrganizationID)
}

func (c *caller) may(do action, org string) bool {
	return slices.ContainsFunc(scopesFor[do], func(scope string) bool { return c.holds(scope, org) })
}

func (c *caller) mayAnywhere(do action) bool {
	if c.may(do, c.token.OrgID) {
		return true
	}
	return slices.ContainsFunc(c.token.Contexts, func(context token.Context) bool { return c.may(do, context.Org) })
}

// authorize answers a missing permission with 401, and an organization in which
// the caller has nothing to look for with 404.
func (c *caller) authorize(do action, org string) error {
	switch {
	case c.may(do, org):
		return nil
	case org != c.token.OrgID && !c.may(read, org) && c.mayAnywhere(do):
		return httpx.NotFound("no such organization")
	case c.token.IsUser && !c.administrator():
		return httpx.InsufficientScope(scopesFor[do], "the user of this token lacks the role %s", directory.RoleOrganizationAdministrator)
	}
	return httpx.InsufficientScope(scopesFor[do], "the token lacks the permission: in this organization one of the scopes %s is needed",
		strings.Join(scopesFor[do], ", "))
}

// checkAssignment tells whether the caller may give an app that acts for itself
// a scope that this server honours. org is the context, or the app's own
// organization. Without this rule a mere app could make itself an
// administrator of another organization.
func (c *caller) checkAssignment(s storage.ContextScope, org string) error {
	switch {
	case !scopes.Honoured(s.Scope):
		return nil
	case !c.may(write, org):
		return httpx.BadRequest("scopes: %s cannot be assigned in organization %s with this token", s.Scope, shorten(org))
	case scopes.NeedsAdministrator(s.Scope) && !c.administrator():
		return httpx.BadRequest("scopes: %s reaches a client_credentials app only through an administrator who is signed in as a user, "+
			"or the server's configuration", s.Scope)
	case !c.covers(s.Scope, org):
		return httpx.BadRequest("scopes: %s in organization %s is more than this token holds", s.Scope, shorten(org))
	}
	return nil
}

// checkCredentials tells whether the caller may make a credential of app: who
// holds the credential of an app holds the app's permissions, which must not
// exceed the caller's.
func (c *caller) checkCredentials(app *storage.App) error {
	for _, s := range app.ContextScopes {
		org := contextOrg(s, app.OrgID)
		if !scopes.Honoured(s.Scope) || c.covers(s.Scope, org) {
			continue
		}
		return httpx.InsufficientScope([]string{s.Scope}, "the app holds the scope %s in organization %s, which this token does not; "+
			"its credentials are made by those who hold it", s.Scope, org)
	}
	return nil
}

// covers tells whether the caller holds at least scope in org.
func (c *caller) covers(scope, org string) bool {
	switch scope {
	case oauth.ScopeFull:
		return c.holds(oauth.ScopeFull, org)
	case oauth.ScopeReadFull:
		return c.holds(scope, org) || c.holds(oauth.ScopeFull, org)
	}
	return c.may(write, org)
}

// party names who calls, for storage.App.SecurityBy. An app that was allowed only
// a part of what an administrator may do is a party of its own.
func (c *caller) party() string {
	if c.sovereign() {
		return "user " + c.user.ID
	}
	return "client " + c.token.ClientID
}

// contextOrg is the organization that a scope's context means.
func contextOrg(s storage.ContextScope, own string) string {
	if s.Org == "" {
		return own
	}
	return s.Org
}
