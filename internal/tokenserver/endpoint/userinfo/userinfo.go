// SPDX-License-Identifier: Apache-2.0

// Package userinfo tells a client about the user behind its access token.
//
// https://openid.net/specs/openid-connect-core-1_0.html#UserInfo
package userinfo

import (
	"log/slog"
	"net/http"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/token"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// Endpoint serves userinfo.
type Endpoint struct {
	// Authenticate verifies the bearer token of a request.
	Authenticate func(*http.Request) (*token.AccessToken, *oauth.Error)
	Logger       *slog.Logger
}

// Mount adds the path to mux.
func (e *Endpoint) Mount(mux httpx.Router) { mux.HandleFunc(oauth.PathUserInfo, e.serve) }

func (e *Endpoint) serve(w http.ResponseWriter, r *http.Request) {
	claims, err := e.claims(w, r)
	if err != nil {
		httpx.Fail(w, r, e.Logger, err)
		return
	}
	httpx.JSON(w, http.StatusOK, claims)
}

func (e *Endpoint) claims(w http.ResponseWriter, r *http.Request) (user.Claims, error) {
	if _, err := httpx.Method(w, r, map[string]bool{http.MethodGet: true, http.MethodPost: true}); err != nil {
		return user.Claims{}, err
	}
	caller, refused := e.Authenticate(r)
	if refused != nil {
		return user.Claims{}, httpx.Unauthenticated(r, refused)
	}
	if !caller.IsUser || !caller.HasScope(oauth.ScopeOpenID, oauth.ScopeFull, oauth.ScopeReadFull) {
		return user.Claims{}, &httpx.Problem{Status: http.StatusForbidden,
			Message:   "the token is not for a user who allowed one of the scopes openid, full, read:full",
			Challenge: `Bearer error="insufficient_scope", scope="openid"`}
	}
	return user.ClaimsOf(caller.User, caller.Scopes), nil
}
