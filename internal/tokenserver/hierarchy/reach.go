// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"slices"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/token"
)

// Holds tells whether t carries scope in the organization id: the one rule of the
// management API (tokenserver.md 13). Whether the user of t has the role is not
// looked at.
func Holds(dir *directory.Directory, t *token.AccessToken, scope, id string) bool {
	if id == "" || !slices.Contains(t.Scopes, scope) {
		return false
	}
	if t.IsUser {
		return Within(dir, id, t.OrgID)
	}
	return slices.ContainsFunc(held(t, scope), func(held string) bool {
		return held == id || administers(scope) && Within(dir, id, held)
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
func held(t *token.AccessToken, scope string) []string {
	var orgs []string
	inContext := false
	for _, context := range t.Contexts {
		if !context.Limits(scope) {
			continue
		}
		inContext = true
		switch {
		case context.EnvID != "":
		case context.Org == "":
			orgs = append(orgs, t.OrgID)
		default:
			orgs = append(orgs, context.Org)
		}
	}
	if !inContext {
		return []string{t.OrgID}
	}
	return orgs
}

// Reach is the organizations that the holder of an access token sees: its own,
// those below it, and wherever Holds lets an app read apps. /me lists them, and
// /organizations answers about these alone.
type Reach struct {
	dir *directory.Directory
	own string
	// roots are seen with all that is below them, alone without.
	roots, alone map[string]bool
}

// reaching are the scopes that show their organization to an app.
var reaching = []string{oauth.ScopeFull, oauth.ScopeManageConnApps, oauth.ScopeReadFull, oauth.ScopeReadConnectedApps}

// ReachOf makes the reach of t among the organizations of dir.
func ReachOf(dir *directory.Directory, t *token.AccessToken) Reach {
	r := Reach{dir: dir, own: t.OrgID, roots: map[string]bool{t.OrgID: true}, alone: map[string]bool{}}
	for _, scope := range reaching {
		if t.IsUser || !slices.Contains(t.Scopes, scope) {
			continue
		}
		into := r.alone
		if administers(scope) {
			into = r.roots
		}
		for _, id := range held(t, scope) {
			into[id] = true
		}
	}
	return r
}

// Has tells whether the organization exists and is seen.
func (r Reach) Has(id string) bool {
	if _, ok := r.dir.Organization(id); ok && r.alone[id] {
		return true
	}
	for range maxDepth {
		org, ok := r.dir.Organization(id)
		switch {
		case !ok:
			return false
		case r.roots[id]:
			return true
		}
		id = org.ParentID
	}
	return false
}

// Organizations are all that are seen: the own one first, then those below it,
// then others, each in the order of the configuration.
func (r Reach) Organizations() []*directory.Organization {
	var own, below, others []*directory.Organization
	for _, org := range r.dir.Organizations() {
		switch {
		case org.ID == r.own:
			own = append(own, org)
		case Within(r.dir, org.ID, r.own):
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

// Above returns the ids of the organizations above org as far as they are seen
// without a gap, the topmost first.
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

// Below returns for each organization that is seen the ids of those that have it
// Above them, in the order of the configuration. It is one walk for all.
func (r Reach) Below() map[string][]string {
	below := map[string][]string{}
	for _, org := range r.dir.Organizations() {
		if !r.Has(org.ID) {
			continue
		}
		if below[org.ID] == nil {
			below[org.ID] = []string{}
		}
		for _, above := range r.Above(org) {
			if n := len(below[above]); above != org.ID && (n == 0 || below[above][n-1] != org.ID) { // parents may form a circle
				below[above] = append(below[above], org.ID)
			}
		}
	}
	return below
}
