// SPDX-License-Identifier: Apache-2.0

// Package revocation ends tokens before they expire.
//
// https://www.rfc-editor.org/rfc/rfc7009
package revocation

import (
	"errors"
	"net/http"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/audit"
	"connectedapps.dev/operator/internal/tokenserver/clientauth"
	"connectedapps.dev/operator/internal/tokenserver/ended"
	"connectedapps.dev/operator/internal/tokenserver/grant"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/token"
)

// Endpoint serves revocation.
type Endpoint struct {
	Clients  *clientauth.Authenticator
	Verifier *token.Verifier
	Refresh  *grant.RefreshTokens
	Ended    *ended.Ledger
	Audit    *audit.Log
}

// known are the parameters of a request.
var known = append(clientauth.Parameters(), "token", "token_type_hint")

// Mount adds the path to mux.
func (e *Endpoint) Mount(mux httpx.Router) { mux.HandleFunc(oauth.PathRevoke, e.serve) }

func (e *Endpoint) serve(w http.ResponseWriter, r *http.Request) {
	if !httpx.AllowMethods(w, r, http.MethodPost) {
		return
	}
	if err := e.revoke(w, r); err != nil {
		httpx.Error(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
}

// revoke ends the token of the request. One that is unknown or dead already is
// no error: what the client wants is so
// (https://www.rfc-editor.org/rfc/rfc7009#section-2.2).
func (e *Endpoint) revoke(w http.ResponseWriter, r *http.Request) error {
	parameters, err := httpx.ReadParameters(w, r, known...)
	if err != nil {
		return err
	}
	by := caller{named: parameters["client_id"]}
	if e.authenticates(r, parameters) {
		if by.client, err = e.Clients.Authenticate(r, parameters); err != nil {
			return err
		}
		by.named = by.client.App.ClientID
	}
	raw := parameters["token"]
	if raw == "" {
		return oauth.Errorf(oauth.CodeInvalidRequest, "the parameter token is missing")
	}
	err = e.end(r, by, raw)
	by.client.Failed(err)
	return err
}

// caller is who asks: a client, or only somebody who names one, or nobody.
type caller struct {
	client *clientauth.Client
	named  string
}

// authenticates tells whether the request is one of a client. A name alone
// proves nothing, and is no attempt to, unless it is all that the client has:
// clients of the JWT bearer grant send it out of habit.
func (e *Endpoint) authenticates(r *http.Request, p httpx.Parameters) bool {
	app, known := e.Clients.Apps.App(p["client_id"])
	return clientauth.Proves(r, p) || known && app.TokenEndpointAuthMethod == oauth.AuthMethodNone
}

func (e *Endpoint) end(r *http.Request, by caller, raw string) error {
	access, err := e.Verifier.Recognise(r.Context(), raw)
	switch {
	case err == nil:
		return e.accessToken(r, by, access)
	case !errors.Is(err, token.ErrInvalid):
		return err
	}
	return e.refreshToken(r, by.client, raw)
}

// accessToken ends one access token. Whoever has it may end it, as existing
// clients do without authentication; a client that is named must be the
// token's.
func (e *Endpoint) accessToken(r *http.Request, by caller, t *token.AccessToken) error {
	if by.named != "" && by.named != t.ClientID {
		return errAnotherClient
	}
	err := e.Ended.EndToken(r.Context(), t.ID, t.ExpiresAt)
	if err == nil {
		e.record(r, t.ClientID, t.Subject, "access token")
	}
	return err
}

var errAnotherClient = oauth.Errorf(oauth.CodeUnauthorizedClient, "the token was issued to another client")

// refreshToken ends all that came of the authorization behind the token. It
// lives too long for possession to be enough.
func (e *Endpoint) refreshToken(r *http.Request, client *clientauth.Client, raw string) error {
	family, ours, err := e.Refresh.Recognise(r.Context(), raw)
	switch {
	case err != nil || !ours:
		return err
	case client == nil:
		return oauth.Errorf(oauth.CodeInvalidClient, "a refresh token is revoked by its client alone, which must authenticate")
	case client.App.ClientID != family.ClientID:
		return errAnotherClient
	}
	if err := e.Ended.EndFamily(r.Context(), family.ID); err != nil {
		return err
	}
	e.record(r, family.ClientID, family.UserID, "refresh token and all tokens of its authorization")
	return nil
}

func (e *Endpoint) record(r *http.Request, clientID, subject, what string) {
	httpx.EventOf(r.Context()).ClientID = clientID
	event := audit.Event{
		Action: audit.TokenRevoked, ClientID: clientID, SourceIP: audit.SourceIP(r), ActorSubject: subject, ActorClientID: clientID, Reason: what,
	}
	if app, ok := e.Clients.Apps.App(clientID); ok {
		event.ClientName, event.OrgID, event.GrantTypes = app.Name, app.OrgID, app.GrantTypes
	}
	e.Audit.Record(r.Context(), event)
}
