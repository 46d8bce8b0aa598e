// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"slices"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/token"
)

// Reach is the organizations that the holder of an access token sees: its own,
// those below it, and those in whose context it manages or reads apps. It is the
// one rule of /me, of /organizations and of the management API (tokenserver.md 13).
type Reach struct {
	dir *directory.Directory
	t   *token.AccessToken
}

// ReachOf makes the reach of t among the organizations of dir.
func ReachOf(dir *directory.Directory, t *token.AccessToken) Reach { return Reach{dir, t} }

// reaching are the scopes that show their organization to an app.
var reaching = []string{oauth.ScopeFull, oauth.ScopeManageConnApps, oauth.ScopeReadFull, oauth.ScopeReadConnectedApps}

// Has tells whether the organization exists and is seen.
func (r Reach) Has(id string) bool {
	if Within(r.dir, id, r.t.OrgID) {
		return true
	}
	return slices.ContainsFunc(reaching, func(scope string) bool { return r.Holds(scope, id) })
}

// Holds tells whether the token's own scopes and contexts give it scope in the
// organization id. Whether its user has the role is not looked at.
func (r Reach) Holds(scope, id string) bool {
	if id == "" || !slices.Contains(r.t.Scopes, scope) {
		return false
	}
	if r.t.IsUser {
		return Within(r.dir, id, r.t.OrgID)
	}
	return slices.ContainsFunc(r.held(scope), func(held string) bool {
		return held == id || administers(scope) && Within(r.dir, id, held)
	})
}

// administers tells whether scope reaches the organizations below as well, as an
// administrator does.
func administers(scope string) bool {
	return scope == oauth.ScopeFull || scope == oauth.ScopeManageConnApps
}

// held are the organizations in whose context an app holds scope. No context
// means the app's own organization; a context narrowed to an environment gives
// nothing here, since apps belong to no environment.
func (r Reach) held(scope string) []string {
	var orgs []string
	inContext := false
	for _, context := range r.t.Contexts {
		if !context.Limits(scope) {
			continue
		}
		inContext = true
		switch {
		case context.EnvID != "":
		case context.Org == "":
			orgs = append(orgs, r.t.OrgID)
		default:
			orgs = append(orgs, context.Org)
		}
	}
	if !inContext {
		return []string{r.t.OrgID}
	}
	return orgs
}

// Organizations are all that are seen: the own one first, then those below it,
// then others, each in the order of the configuration.
func (r Reach) Organizations() []*directory.Organization {
	var own, below, others []*directory.Organization
	for _, org := range r.dir.Organizations() {
		switch {
		case org.ID == r.t.OrgID:
			own = append(own, org)
		case Within(r.dir, org.ID, r.t.OrgID):
			below = append(below, org)
		case r.Has(org.ID):
			others = append(others, org)
		}
	}
	return slices.Concat(own, below, others)
}

// Top tells whether nothing above the organization is seen: to this caller it is
// a root.
func (r Reach) Top(org *directory.Organization) bool { return !r.Has(org.ParentID) }

// Above returns the ids of the organizations above org that are seen, the topmost
// first.
func (r Reach) Above(org *directory.Organization) []string {
	ids := []string{}
	for range maxDepth {
		if r.Top(org) {
			break
		}
		org, _ = r.dir.Organization(org.ParentID)
		ids = append(ids, org.ID)
	}
	slices.Reverse(ids)
	return ids
}

// Below returns the ids of the organizations below org that are seen, in the order
// of the configuration. An app may see an organization and nothing below it.
func (r Reach) Below(org *directory.Organization) []string {
	ids := []string{}
	for _, other := range r.dir.Organizations() {
		if other.ID != org.ID && Within(r.dir, other.ID, org.ID) && r.Has(other.ID) {
			ids = append(ids, other.ID)
		}
	}
	return ids
}
