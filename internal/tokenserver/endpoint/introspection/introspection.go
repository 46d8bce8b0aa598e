// SPDX-License-Identifier: Apache-2.0

// Package introspection tells a resource server what a token says and whether
// it is still valid.
//
// https://www.rfc-editor.org/rfc/rfc7662
package introspection

import (
	"context"
	"errors"
	"net/http"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/clientauth"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/grant"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/scopes"
	"connectedapps.dev/operator/internal/tokenserver/token"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// Endpoint serves introspection.
type Endpoint struct {
	Clients  *clientauth.Authenticator
	Verifier *token.Verifier
	Refresh  *grant.RefreshTokens
	People   *user.People
	Issuer   string
}

// known are the parameters of a request.
var known = append(clientauth.Parameters(), "token", "token_type_hint")

// Mount adds the path to mux.
func (e *Endpoint) Mount(mux httpx.Router) { mux.HandleFunc(oauth.PathIntrospect, e.serve) }

func (e *Endpoint) serve(w http.ResponseWriter, r *http.Request) {
	if !httpx.AllowMethods(w, r, http.MethodPost) {
		return
	}
	answer, err := e.introspect(w, r)
	if err != nil {
		httpx.Error(w, r, err)
		return
	}
	httpx.JSON(w, http.StatusOK, answer)
}

func (e *Endpoint) introspect(w http.ResponseWriter, r *http.Request) (oauth.Introspection, error) {
	none := oauth.Introspection{}
	parameters, err := httpx.ReadParameters(w, r, known...)
	if err != nil {
		return none, err
	}
	// Without it anybody could try tokens
	// (https://www.rfc-editor.org/rfc/rfc7662#section-2.1).
	client, err := e.Clients.Authenticate(r, parameters)
	if err != nil {
		return none, err
	}
	if client.Public {
		return none, oauth.Errorf(oauth.CodeInvalidClient, "introspection needs a client that authenticates")
	}
	raw := parameters["token"]
	if raw == "" {
		return none, oauth.Errorf(oauth.CodeInvalidRequest, "the parameter token is missing")
	}
	found, err := e.look(r.Context(), client.App, raw)
	client.Failed(err)
	return found, err
}

func (e *Endpoint) look(ctx context.Context, asking *clients.App, raw string) (oauth.Introspection, error) {
	access, err := e.Verifier.Verify(ctx, raw)
	switch {
	case err == nil:
		return e.describe(asking, access), nil
	case !errors.Is(err, token.ErrInvalid):
		return oauth.Introspection{}, err
	}
	return e.refreshToken(ctx, asking, raw)
}

// describe answers about an access token, to those who may know.
func (e *Endpoint) describe(asking *clients.App, t *token.AccessToken) oauth.Introspection {
	if !e.mayKnow(asking, t.ClientID, t.OrgID) {
		return oauth.Introspection{}
	}
	answer := oauth.Introspection{
		Active: true, Scope: oauth.JoinScopes(t.Scopes), ClientID: t.ClientID, TokenType: oauth.TokenTypeBearer,
		ExpiresAt: t.ExpiresAt.Unix(), IssuedAt: t.IssuedAt.Unix(), Subject: t.Subject, Audience: e.Issuer, Issuer: e.Issuer, ID: t.ID, OrgID: t.OrgID,
	}
	for _, c := range t.Contexts {
		answer.Contexts = append(answer.Contexts, oauth.TokenContext(c))
	}
	if t.IsUser {
		answer.Username = t.User.Username
	}
	return answer
}

// refreshToken answers about a refresh token, which only its own client may
// know: nobody else has a use for it.
func (e *Endpoint) refreshToken(ctx context.Context, asking *clients.App, raw string) (oauth.Introspection, error) {
	family, ok, err := e.Refresh.Lookup(ctx, asking, raw)
	if err != nil || !ok {
		return oauth.Introspection{}, err
	}
	found, err := e.People.Find(ctx, family.UserID)
	if err == nil {
		err = user.Admits(asking, found)
	}
	if user.Refused(err) {
		return oauth.Introspection{}, nil
	}
	if err != nil {
		return oauth.Introspection{}, err
	}
	// As at the token endpoint: it gives no more than the app still has.
	left := scopes.Within(family.Scopes, asking.Scopes)
	if len(left) == 0 {
		return oauth.Introspection{}, nil
	}
	return oauth.Introspection{
		Active: true, Scope: oauth.JoinScopes(left), ClientID: family.ClientID, Username: found.Username,
		ExpiresAt: family.ExpiresAt.Unix(), IssuedAt: family.RotatedAt.Unix(), Subject: family.UserID, Issuer: e.Issuer, OrgID: family.OrgID,
	}, nil
}

// mayKnow: an app may ask about its own tokens, and with introspect:tokens
// about those of the organizations in whose context it holds that scope: tokens
// of their apps and of their users.
func (e *Endpoint) mayKnow(asking *clients.App, clientID, orgID string) bool {
	if asking.ClientID == clientID {
		return true
	}
	var appOrg string
	if app, ok := e.Clients.Apps.App(clientID); ok {
		appOrg = app.OrgID
	}
	for _, s := range asking.ContextScopes {
		if s.Scope != oauth.ScopeIntrospectTokens || s.EnvID != "" {
			continue
		}
		org := s.Org
		if org == "" {
			org = asking.OrgID
		}
		if org == orgID || org == appOrg {
			return true
		}
	}
	return false
}
