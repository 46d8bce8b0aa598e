// SPDX-License-Identifier: Apache-2.0

package management

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/audit"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/ended"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/token"
)

// View is the server's in-memory view of the apps, which the token endpoint
// reads.
type View interface {
	clients.Lookup
	// Refresh reads one app again.
	Refresh(ctx context.Context, clientID string) error
}

// Credentials makes client ids and secrets and hashes secrets for the storage.
type Credentials interface {
	NewClientID() string
	NewSecret() string
	Hash(secret string) []byte
}

// Sealer keeps secrets recoverable. The label binds a sealed value to its app.
type Sealer interface {
	Seal(plain, label []byte) ([]byte, error)
	Unseal(sealed, label []byte) ([]byte, error)
}

// Endpoint serves the management API. Every field without a note is required.
type Endpoint struct {
	Apps      storage.Apps
	Ended     *ended.Ledger
	View      View
	Directory *directory.Live
	// Users are those whom identity providers have asserted.
	Users storage.Users
	// WorkloadIssuers are the names that federated identities may refer to.
	WorkloadIssuers []string
	// Authenticate verifies the bearer token of a request.
	Authenticate func(*http.Request) (*token.AccessToken, *oauth.Error)
	Credentials  Credentials
	// Sealer is set when secrets are recoverable: they are then shown again to
	// administrators. Nil: a secret is shown once.
	Sealer Sealer
	// CompleteUntil is the time up to which every use of a secret has reached
	// the storage. Nil: never.
	CompleteUntil func() time.Time
	Audit         *audit.Log
	Now           func() time.Time
	Logger        *slog.Logger

	room room
}

// Mount adds every path to mux. Methods are told apart here, not in the mux,
// so that a wrong one gets the API's own error body.
func (e *Endpoint) Mount(mux httpx.Router) {
	for _, base := range []string{oauth.PathConnectedApps, oauth.PathOrganizations + "/{orgId}/connectedApplications"} {
		mux.Handle(base, e.serve(methods{http.MethodGet: {read, e.list}, http.MethodPost: {write, e.create}}))
		mux.Handle(base+"/{clientId}", e.serve(methods{
			http.MethodGet: {read, e.read}, http.MethodPatch: {write, e.update}, http.MethodDelete: {write, e.delete},
		}))
		mux.Handle(base+"/{clientId}/scopes", e.serve(methods{
			http.MethodGet: {read, e.listScopes}, http.MethodPut: {write, e.replaceScopes},
			http.MethodPatch: {write, e.addScopes}, http.MethodDelete: {write, e.removeScopes},
		}))
		mux.Handle(base+"/{clientId}/secrets", e.serve(methods{
			http.MethodGet: {read, e.listSecrets}, http.MethodPost: {write, e.addSecret},
		}))
		mux.Handle(base+"/{clientId}/secrets/{secretId}", e.serve(methods{http.MethodDelete: {write, e.deleteSecret}}))
	}
	mux.Handle(oauth.PathScopeCatalog, e.serve(methods{http.MethodGet: {open, e.catalog}}))
}

// operation is one method of one path and what its caller must be permitted.
type operation struct {
	needs  action
	handle func(ctx context.Context, c *call) error
}

type methods = map[string]operation

// call is one authorized request.
type call struct {
	w http.ResponseWriter
	r *http.Request
	// now is when the request was there as a whole.
	now   time.Time
	clock func() time.Time
	// org is the organization of the path, or of the token for the bare form.
	org    string
	caller *caller
}

func (e *Endpoint) serve(methods methods) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := e.dispatch(methods, w, r); err != nil {
			httpx.Fail(w, r, e.Logger, err)
		}
	})
}

func (e *Endpoint) dispatch(methods methods, w http.ResponseWriter, r *http.Request) error {
	operation, err := httpx.Method(w, r, methods)
	if err != nil {
		return err
	}
	caller, err := e.authenticate(r)
	if err != nil {
		return err
	}
	c := &call{w: w, r: r, clock: e.Now, org: caller.token.OrgID, caller: caller}
	c.received()
	if org := r.PathValue("orgId"); org != "" {
		c.org = org
	}
	if operation.needs != open {
		if err := e.admit(c, operation.needs); err != nil {
			return err
		}
	}
	return operation.handle(r.Context(), c)
}

// admit decides about the organization of the call.
func (e *Endpoint) admit(c *call, do action) error {
	if err := c.caller.authorize(do, c.org); err != nil {
		return err
	}
	if _, ok := e.Directory.Load().Organization(c.org); !ok {
		return httpx.NotFound("no such organization")
	}
	return nil
}

func (e *Endpoint) authenticate(r *http.Request) (*caller, error) {
	verified, refused := e.Authenticate(r)
	if refused != nil {
		return nil, httpx.Unauthenticated(r, refused)
	}
	c := &caller{token: verified, directory: e.Directory.Load()}
	if verified.IsUser {
		user, ok := c.directory.User(verified.Subject)
		if !ok {
			user = &directory.User{ID: verified.Subject, OrganizationID: verified.OrgID}
		}
		c.user = user
	}
	return c, nil
}
