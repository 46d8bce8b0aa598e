// SPDX-License-Identifier: Apache-2.0

// Package profile owns the HTTP side of "who am I": the user behind a token, in
// the three shapes that clients read. An app that calls on its own behalf is
// answered with its owner.
package profile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/hierarchy"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/token"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// Endpoint serves the profile. Every field without a note is required.
type Endpoint struct {
	// View is the server's in-memory view of the apps.
	View      clients.Lookup
	Directory *directory.Live
	// People also finds users whom an identity provider asserted; nil: those of
	// the configuration alone.
	People *user.People
	// Authenticate verifies the bearer token of a request.
	Authenticate func(*http.Request) (*token.AccessToken, *oauth.Error)
	Logger       *slog.Logger
}

// Mount adds the paths to mux, each also with a slash at its end.
func (e *Endpoint) Mount(mux httpx.Router) {
	for path, shape := range map[string]func(oauth.User, *oauth.MeClient) any{
		oauth.PathProfile: flat,
		oauth.PathUsersMe: flat,
		oauth.PathMe:      nested,
	} {
		mux.Handle(path, e.serve(shape))
		mux.Handle(path+"/{$}", e.serve(shape))
	}
}

func flat(u oauth.User, _ *oauth.MeClient) any { return u }

func nested(u oauth.User, client *oauth.MeClient) any { return oauth.Me{User: u, Client: client} }

func (e *Endpoint) serve(shape func(oauth.User, *oauth.MeClient) any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		found, client, err := e.who(w, r)
		if err != nil {
			httpx.Fail(w, r, e.Logger, err)
			return
		}
		httpx.JSON(w, http.StatusOK, shape(found, client))
	})
}

func (e *Endpoint) who(w http.ResponseWriter, r *http.Request) (oauth.User, *oauth.MeClient, error) {
	var none oauth.User
	if _, err := httpx.Method(w, r, map[string]bool{http.MethodGet: true}); err != nil {
		return none, nil, err
	}
	caller, refused := e.Authenticate(r)
	if refused != nil {
		return none, nil, httpx.Unauthenticated(r, refused)
	}
	if err := permitted(caller); err != nil {
		return none, nil, err
	}
	// A token of a plain user session belongs to no app.
	app, _ := e.View.App(caller.ClientID)
	found, err := e.find(r.Context(), caller, app)
	if err != nil {
		return none, nil, err
	}
	return WireUser(hierarchy.ReachOf(e.Directory.Load(), caller), caller.OrgID, found), wireClient(app), nil
}

// permitted: an app always has profile; a user must have allowed it.
func permitted(caller *token.AccessToken) error {
	enough := []string{oauth.ScopeProfile, oauth.ScopeFull, oauth.ScopeReadFull}
	if !caller.IsUser || caller.HasScope(enough...) {
		return nil
	}
	return httpx.InsufficientScope(enough, "the token lacks the permission: one of the scopes profile, full, read:full is needed")
}

// find returns the user of the token, or the owner of the app.
func (e *Endpoint) find(ctx context.Context, caller *token.AccessToken, app *clients.App) (*directory.User, error) {
	dir := e.Directory.Load()
	if !caller.IsUser {
		if found, ok := owner(dir, app); ok {
			return found, nil
		}
		return nil, httpx.NotFound("the app of this token has no owner")
	}
	found, ok := dir.User(caller.Subject)
	if !ok && e.People != nil {
		var err error
		found, err = e.People.Find(ctx, caller.Subject)
		if err != nil && !errors.Is(err, user.ErrUnknown) {
			return nil, fmt.Errorf("finding the user: %w", err)
		}
		ok = err == nil
	}
	if !ok || !found.Enabled {
		return nil, &httpx.Problem{
			Status: http.StatusUnauthorized, Message: "the user of this token is gone", Challenge: `Bearer error="invalid_token"`,
		}
	}
	return found, nil
}

// owner is the app's owner, or the owner of its organization when that user is
// gone, also to another organization.
func owner(dir *directory.Directory, app *clients.App) (*directory.User, bool) {
	if app == nil {
		return nil, false
	}
	if found, ok := dir.User(app.OwnerUserID); ok && found.Enabled && found.OrganizationID == app.OwnerOrgID {
		return found, true
	}
	org, ok := dir.Organization(app.OrgID)
	if !ok {
		return nil, false
	}
	return dir.User(org.OwnerID)
}

func wireClient(app *clients.App) *oauth.MeClient {
	if app == nil {
		return nil
	}
	return &oauth.MeClient{ClientID: app.ClientID, Name: app.Name, OrgID: app.OrgID, ClientType: "control"}
}

// WireUser shows u with the organizations that a caller reaches, which for an app
// need not be those of its owner: org is the caller's.
func WireUser(reach hierarchy.Reach, org string, u *directory.User) oauth.User {
	organizations := wireOrganizations(reach)
	wire := oauth.User{
		ID: u.ID, CreatedAt: timestamp(u.CreatedAt), UpdatedAt: timestamp(u.CreatedAt),
		OrganizationID: org,
		FirstName:      u.FirstName, LastName: u.LastName, Email: u.Email, PhoneNumber: u.PhoneNumber, Username: u.Username,
		IDProviderID: u.IDProviderID, Enabled: u.Enabled, IsFederated: u.IDProviderID != directory.LocalProvider,
		MFAVerifiersConfigured: "false", Type: "host",
		OrganizationPreferences: map[string]any{}, Properties: map[string]any{},
		MemberOfOrganizations: organizations, ContributorOfOrganizations: organizations,
	}
	if len(organizations) > 0 {
		wire.Organization = organizations[0]
	}
	return wire
}

// wireOrganizations are those in reach, the caller's own first. The topmost one is
// shown as a root, in which one client insists: what is above is not the caller's
// to see.
func wireOrganizations(reach hierarchy.Reach) []oauth.UserOrganization {
	list, below := []oauth.UserOrganization{}, reach.Below()
	for _, org := range reach.Organizations() {
		created, root := timestamp(org.CreatedAt), reach.Top(org)
		list = append(list, oauth.UserOrganization{
			ID: org.ID, Name: org.Name, OwnerID: org.OwnerID, Domain: org.Domain, CreatedAt: created, UpdatedAt: created,
			IDProviderID: directory.LocalProvider, IsMaster: root, IsRoot: root,
			ParentOrganizationIDs: reach.Above(org), SubOrganizationIDs: below[org.ID], TenantOrganizationIDs: []string{},
			Subscription: oauth.FullSubscription(), Properties: map[string]any{},
		})
	}
	return list
}

func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
