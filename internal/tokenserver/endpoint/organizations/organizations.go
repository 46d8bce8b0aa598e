// SPDX-License-Identifier: Apache-2.0

// Package organizations owns the HTTP side of reading organizations and their
// environments. Both come from the configuration; nothing is changed here. A
// caller sees the organizations in its reach and nothing above or beside them.
package organizations

import (
	"log/slog"
	"net/http"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/hierarchy"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/token"
)

// Endpoint serves organizations.
type Endpoint struct {
	Directory *directory.Live
	// Authenticate verifies the bearer token of a request.
	Authenticate func(*http.Request) (*token.AccessToken, *oauth.Error)
	Logger       *slog.Logger
}

// Mount adds the paths to mux.
func (e *Endpoint) Mount(mux httpx.Router) {
	const one = oauth.PathOrganizations + "/{orgId}"
	mux.Handle(one, e.serve(e.organization))
	mux.Handle(one+"/hierarchy", e.serve(e.hierarchy))
	mux.Handle(one+"/environments", e.serve(e.environments))
	mux.Handle(one+"/environments/{envId}", e.serve(e.environment))
}

// reader answers with what it found about an organization the caller may see.
type reader func(s *sight) (any, error)

// sight is an organization as a caller sees it.
type sight struct {
	r     *http.Request
	dir   *directory.Directory
	reach hierarchy.Reach
	org   *directory.Organization
}

func (e *Endpoint) serve(read reader) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := e.read(w, r, read)
		if err != nil {
			httpx.Fail(w, r, e.Logger, err)
			return
		}
		httpx.JSON(w, http.StatusOK, body)
	})
}

func (e *Endpoint) read(w http.ResponseWriter, r *http.Request, read reader) (any, error) {
	if _, err := httpx.Method(w, r, map[string]bool{http.MethodGet: true}); err != nil {
		return nil, err
	}
	caller, refused := e.Authenticate(r)
	if refused != nil {
		return nil, httpx.Unauthenticated(r, refused)
	}
	if err := permitted(caller); err != nil {
		return nil, err
	}
	dir := e.Directory.Load()
	reach := hierarchy.ReachOf(dir, caller)
	org, ok := dir.Organization(r.PathValue("orgId"))
	if !ok || !reach.Has(org.ID) {
		return nil, httpx.NotFound("no such organization")
	}
	return read(&sight{r, dir, reach, org})
}

// permitted lets every app read where it lives; for a user, the user must have
// allowed the app to know that.
func permitted(caller *token.AccessToken) error {
	enough := []string{oauth.ScopeProfile, oauth.ScopeFull, oauth.ScopeReadFull}
	if !caller.IsUser || caller.HasScope(enough...) {
		return nil
	}
	return httpx.InsufficientScope(enough, "the token lacks the permission: one of the scopes profile, full, read:full is needed")
}

func (e *Endpoint) organization(s *sight) (any, error) {
	org, root := s.org, s.reach.Top(s.org)
	wire := oauth.Organization{
		ID: org.ID, Name: org.Name, CreatedAt: org.CreatedAt.UTC().Format(time.RFC3339), Domain: org.Domain,
		IsRoot: root, IsMaster: root,
		Owner:              oauth.OrganizationOwner{ID: org.OwnerID},
		Subscription:       oauth.FullSubscription(),
		SubOrganizationIDs: s.reach.Below()[org.ID],
		Environments:       wireEnvironments(org),
		Entitlements:       map[string]any{},
	}
	if !root {
		wire.ParentID = &org.ParentID
	}
	if owner, ok := s.dir.User(org.OwnerID); ok {
		wire.Owner.Username = owner.Username
	}
	return wire, nil
}

func (e *Endpoint) hierarchy(s *sight) (any, error) { return s.node(s.org, 0), nil }

// maxDepth bounds the tree, should parents form a circle.
const maxDepth = 64

func (s *sight) node(org *directory.Organization, depth int) oauth.OrganizationNode {
	n := oauth.OrganizationNode{ID: org.ID, Name: org.Name, IsRoot: s.reach.Top(org), SubOrganizations: []oauth.OrganizationNode{}}
	for _, child := range s.dir.Organizations() {
		if child.ParentID == org.ID && depth < maxDepth && s.reach.Has(child.ID) {
			n.SubOrganizations = append(n.SubOrganizations, s.node(child, depth+1))
		}
	}
	return n
}

func (e *Endpoint) environments(s *sight) (any, error) {
	list := wireEnvironments(s.org)
	return oauth.List[oauth.Environment]{Data: list, Total: len(list)}, nil
}

func (e *Endpoint) environment(s *sight) (any, error) {
	for _, env := range wireEnvironments(s.org) {
		if env.ID == s.r.PathValue("envId") {
			return env, nil
		}
	}
	return nil, httpx.NotFound("no such environment")
}

func wireEnvironments(org *directory.Organization) []oauth.Environment {
	list := make([]oauth.Environment, len(org.Environments))
	for i, env := range org.Environments {
		list[i] = oauth.Environment{ID: env.ID, Name: env.Name, OrganizationID: org.ID, IsProduction: env.IsProduction(), Type: env.Type}
	}
	return list
}
