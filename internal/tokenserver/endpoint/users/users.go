// SPDX-License-Identifier: Apache-2.0

// Package users owns the HTTP side of the users of an organization: its
// administrators list them and switch off those whom an identity provider has
// asserted. Local users are in the configuration, where nothing here changes
// them.
package users

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/audit"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/endpoint/profile"
	"connectedapps.dev/operator/internal/tokenserver/hierarchy"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/token"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// Endpoint serves users.
type Endpoint struct {
	Store     storage.Users
	Directory *directory.Live
	// Authenticate verifies the bearer token of a request.
	Authenticate func(*http.Request) (*token.AccessToken, *oauth.Error)
	// EndUser ends all tokens of a user who has been switched off; repeating it
	// is no error.
	EndUser func(ctx context.Context, userID string) error
	Audit   *audit.Log
	Now     func() time.Time
	Logger  *slog.Logger
}

// Mount adds the paths to mux. Methods are told apart here, not in the mux, so
// that a wrong one gets the API's own error body.
func (e *Endpoint) Mount(mux httpx.Router) {
	const all = oauth.PathOrganizations + "/{orgId}/users"
	mux.Handle(all, e.serve(methods{http.MethodGet: e.list}))
	mux.Handle(all+"/{userId}", e.serve(methods{http.MethodGet: e.read, http.MethodPatch: e.change, http.MethodPut: e.change}))
}

// methods answer with the body of a 200.
type methods = map[string]func(c *call) (any, error)

// call is one request of an administrator of org.
type call struct {
	w      http.ResponseWriter
	r      *http.Request
	dir    *directory.Directory
	org    string
	caller *token.AccessToken
}

func (e *Endpoint) serve(methods methods) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := e.dispatch(methods, w, r)
		if err != nil {
			httpx.Fail(w, r, e.Logger, err)
			return
		}
		httpx.JSON(w, http.StatusOK, body)
	})
}

func (e *Endpoint) dispatch(methods methods, w http.ResponseWriter, r *http.Request) (any, error) {
	handle, err := httpx.Method(w, r, methods)
	if err != nil {
		return nil, err
	}
	caller, refused := e.Authenticate(r)
	if refused != nil {
		return nil, httpx.Unauthenticated(r, refused)
	}
	c := &call{w: w, r: r, dir: e.Directory.Load(), org: r.PathValue("orgId"), caller: caller}
	if err := administers(c.dir, caller, c.org); err != nil {
		return nil, err
	}
	return handle(c)
}

const (
	defaultPage = 25
	maxPage     = 500
)

// list answers one page: first the users of the configuration in its order, then
// the asserted ones, the oldest first.
func (e *Endpoint) list(c *call) (any, error) {
	offset, limit, err := page(c.r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	local := c.localUsers()
	reply := oauth.List[oauth.User]{Data: []oauth.User{}}
	for _, u := range local[min(offset, len(local)):min(offset+limit, len(local))] {
		reply.Data = append(reply.Data, c.wireUser(u))
	}
	rest := storage.UserQuery{OrgID: c.org, Offset: max(0, offset-len(local)), Limit: limit - len(reply.Data)}
	asserted, total, err := e.Store.Users(c.r.Context(), rest)
	if err != nil {
		return nil, fmt.Errorf("listing users: %w", err)
	}
	for _, record := range asserted {
		reply.Data = append(reply.Data, c.wire(record))
	}
	reply.Total = len(local) + total
	return reply, nil
}

func (c *call) localUsers() []*directory.User {
	var local []*directory.User
	for _, u := range c.dir.Users() {
		if u.OrganizationID == c.org {
			local = append(local, u)
		}
	}
	return local
}

func page(rawQuery string) (offset, limit int, err error) {
	q, err := httpx.ParseForm(rawQuery)
	if err != nil {
		return 0, 0, httpx.BadRequest("the query: %v", err)
	}
	return httpx.Page(q, defaultPage, maxPage)
}

func (e *Endpoint) read(c *call) (any, error) {
	if u, ok := c.local(); ok {
		return c.wireUser(u), nil
	}
	record, err := e.record(c)
	if err != nil {
		return nil, err
	}
	return c.wire(record), nil
}

// local is the user of the path when it is one of the configuration.
func (c *call) local() (*directory.User, bool) {
	u, ok := c.dir.User(c.r.PathValue("userId"))
	return u, ok && u.OrganizationID == c.org
}

// record is the asserted user of the path. One of another organization does not
// exist for this caller.
func (e *Endpoint) record(c *call) (storage.User, error) {
	record, err := e.Store.User(c.r.Context(), c.r.PathValue("userId"))
	switch {
	case errors.Is(err, storage.ErrNotFound), err == nil && record.OrgID != c.org:
		return storage.User{}, errNoSuchUser
	case err != nil:
		return storage.User{}, fmt.Errorf("reading the user: %w", err)
	}
	return record, nil
}

var errNoSuchUser = httpx.NotFound("no such user")

// wire leaves out what only tokens say of a user: its groups.
func (c *call) wire(record storage.User) oauth.User {
	return c.wireUser(user.Asserted(record, directory.IdentityProvider{}))
}

// wireUser shows the organizations that the user reaches as such.
func (c *call) wireUser(u *directory.User) oauth.User {
	reach := hierarchy.ReachOf(c.dir, &token.AccessToken{OrgID: u.OrganizationID, IsUser: true})
	return profile.WireUser(reach, u.OrganizationID, u)
}
