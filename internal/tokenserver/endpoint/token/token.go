// SPDX-License-Identifier: Apache-2.0

// Package token serves the token endpoint: it reads the request, authenticates
// the client, lets the grant decide and writes the answer.
// https://www.rfc-editor.org/rfc/rfc6749#section-3.2
package token

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/audit"
	"connectedapps.dev/operator/internal/tokenserver/clientauth"
	"connectedapps.dev/operator/internal/tokenserver/grant"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/metrics"
)

// Endpoint serves POST /accounts/api/v2/oauth2/token.
type Endpoint struct {
	Clients *clientauth.Authenticator
	Grants  []grant.Grant
	Audit   *audit.Log
	Metrics *metrics.Metrics
	// Source tells the caller's address where a trusted proxy gives a real one;
	// nil: not known.
	Source func(*http.Request) netip.Addr
	// Fresh tells whether what is in memory is up to date: every grant that is
	// not Cached needs that, and so does every refusal. Errors: as
	// feed.Follower.Confirm.
	Fresh func(ctx context.Context) error
}

// Mount adds the endpoint to mux.
func (e *Endpoint) Mount(mux httpx.Router) { mux.HandleFunc(oauth.PathToken, e.serve) }

func (e *Endpoint) serve(w http.ResponseWriter, r *http.Request) {
	if !httpx.AllowMethods(w, r, http.MethodPost) {
		return
	}
	start := time.Now()
	result, err := e.authorize(w, r)
	if err != nil {
		e.recordRefusal(r, err, time.Since(start))
		httpx.Error(w, r, err)
		return
	}
	e.recordIssue(r, result, time.Since(start))
	// RFC 6749 section 5.1 asks for both headers.
	w.Header()["Pragma"] = noCache
	httpx.JSON(w, http.StatusOK, result.Response)
}

var noCache = []string{"no-cache"}

func (e *Endpoint) authorize(w http.ResponseWriter, r *http.Request) (*grant.Result, error) {
	p, err := httpx.ReadParameters(w, r, parameters...)
	if err != nil {
		return nil, err
	}
	chosen, err := e.grant(p["grant_type"])
	if err != nil {
		return nil, err
	}
	httpx.EventOf(r.Context()).GrantType = chosen.Type()
	request := &grant.Request{
		Scopes: oauth.SplitScopes(p["scope"]),
		Code:   p["code"], RedirectURI: p["redirect_uri"], CodeVerifier: p["code_verifier"],
		RefreshToken: p["refresh_token"], Username: p["username"], Password: p["password"],
		Assertion: p["assertion"],
	}
	if e.Source != nil {
		request.Source = e.Source(r)
	}
	request.ClientID = p["client_id"]
	return e.fresh(r, p, chosen, request)
}

// fresh lets the grant decide by what is up to date. A grant that is Cached may
// also say yes by what is not; that it says no may only mean that this replica has
// not heard of the app, or of its new secret, yet.
func (e *Endpoint) fresh(r *http.Request, p httpx.Parameters, chosen grant.Grant, request *grant.Request) (*grant.Result, error) {
	stale := e.Fresh(r.Context())
	if stale != nil && !chosen.Cached() {
		return nil, stale
	}
	result, err := e.decide(r, p, chosen, request)
	if err != nil && stale != nil {
		request.Client.Failed(stale)
		return nil, stale
	}
	return result, err
}

// decide authenticates the client and lets the grant decide. A name beside an
// assertion is not yet an attempt to authenticate.
func (e *Endpoint) decide(r *http.Request, p httpx.Parameters, chosen grant.Grant, request *grant.Request) (result *grant.Result, err error) {
	if chosen.NeedsClient() || clientauth.Proves(r, p) {
		if request.Client, err = e.Clients.Authenticate(r, p); err != nil {
			return nil, err
		}
	}
	if request.Client != nil {
		if err := grant.CheckListed(request.Client.App, chosen.Type()); err != nil {
			return nil, err
		}
	}
	result, err = chosen.Authorize(r.Context(), request)
	if err != nil {
		request.Client.Failed(err)
		return nil, err
	}
	httpx.EventOf(r.Context()).ClientID = result.App.ClientID
	return result, nil
}

// parameters are those by which a client authenticates and those of all grants.
var parameters = append(clientauth.Parameters(),
	"grant_type", "scope", "code", "redirect_uri", "code_verifier", "refresh_token", "username", "password", "assertion")

func (e *Endpoint) grant(grantType string) (grant.Grant, error) {
	if grantType == "" {
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "the parameter grant_type is missing")
	}
	for _, g := range e.Grants {
		if g.Type() == grantType {
			return g, nil
		}
	}
	return nil, oauth.Errorf(oauth.CodeUnsupportedGrantType, "this grant_type is not supported")
}

func (e *Endpoint) recordIssue(r *http.Request, result *grant.Result, took time.Duration) {
	grantType := httpx.EventOf(r.Context()).GrantType
	e.Metrics.TokenIssued(grantType)
	e.Metrics.TokenAnswered(grantType, "", took)
	e.record(r.Context(), audit.Event{
		Action: audit.TokenIssued, ClientID: result.App.ClientID, ClientName: result.App.Name, OrgID: result.App.OrgID,
		SourceIP: audit.SourceIP(r), ActorSubject: result.Token.Subject, ActorClientID: result.Token.ClientID, Scopes: result.Token.Scopes,
	})
}

func (e *Endpoint) recordRefusal(r *http.Request, err error, took time.Duration) {
	grantType, code := httpx.EventOf(r.Context()).GrantType, httpx.AsError(err).Code
	e.Metrics.TokenRefused(grantType, code)
	e.Metrics.TokenAnswered(grantType, code, took)
	event := audit.Event{Action: audit.TokenRefused, SourceIP: audit.SourceIP(r), Reason: oauth.CodeServerError}
	if failure := httpx.AsError(err); failure.Code != oauth.CodeServerError {
		event.Reason = failure.Code + ": " + failure.Description
	}
	if clientID := httpx.EventOf(r.Context()).ClientID; clientID != "" {
		event.ClientID = clientID
		if app, ok := e.Clients.Apps.App(clientID); ok {
			event.ClientName, event.OrgID = app.Name, app.OrgID
		}
	}
	e.record(r.Context(), event)
}

func (e *Endpoint) record(ctx context.Context, event audit.Event) {
	if grantType := httpx.EventOf(ctx).GrantType; grantType != "" {
		event.GrantTypes = []string{grantType}
	}
	e.Audit.Record(ctx, event)
}
