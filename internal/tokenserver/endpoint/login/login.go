// SPDX-License-Identifier: Apache-2.0

// Package login serves the platform's own sign-in for programs: a username and
// a password become an access token that may do all the user may do, and a
// token may be ended. It sets no cookie.
package login

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/audit"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/ended"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/metrics"
	"connectedapps.dev/operator/internal/tokenserver/token"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// Paths of the platform's sign-in and sign-out for programs; the second is of
// one old script.
const (
	PathLogin    = "/accounts/login"
	PathOldLogin = "/accounts/api/v1/oauth/token"
	PathLogout   = "/accounts/api/logout"
)

// Endpoint serves sign-in and sign-out for programs.
type Endpoint struct {
	Authenticator *user.Authenticator
	Issuer        *token.Issuer
	Verifier      *token.Verifier
	Ended         *ended.Ledger
	Directory     *directory.Live
	// Source is the client's address where trusted proxies tell it; nil: never.
	Source func(r *http.Request) netip.Addr
	// Disabled leaves sign-in out; sign-out stays.
	Disabled bool
	Audit    *audit.Log
	Metrics  *metrics.Metrics
	Logger   *slog.Logger
	Now      func() time.Time
}

// Mount adds the endpoint's paths to mux.
func (e *Endpoint) Mount(mux httpx.Router) {
	if !e.Disabled {
		mux.HandleFunc("POST "+PathLogin, e.login)
		mux.HandleFunc("POST "+PathOldLogin, e.login)
	}
	mux.HandleFunc("GET "+PathLogout, e.logout)
	mux.HandleFunc("GET "+PathLogout+"/{$}", e.logout)
}

type response struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	RedirectURL string `json:"redirectUrl"`
}

func (e *Endpoint) login(w http.ResponseWriter, r *http.Request) {
	username, password, err := read(w, r)
	if err != nil {
		httpx.Fail(w, r, e.Logger, err)
		return
	}
	attempt := user.Attempt{Login: username, Password: password}
	if e.Source != nil {
		attempt.Source = e.Source(r)
	}
	u, err := e.Authenticator.Authenticate(r.Context(), attempt)
	if err != nil {
		e.refuse(w, r, err)
		return
	}
	e.issue(w, r, u)
}

// read takes the credentials as JSON or as a form.
func read(w http.ResponseWriter, r *http.Request) (username, password string, err error) {
	parameters, err := httpx.ReadParameters(w, r, "username", "password")
	var refused *oauth.Error
	if errors.As(err, &refused) {
		return "", "", httpx.Problemf(refused.Status, "%s", refused.Description)
	}
	if err != nil {
		return "", "", err
	}
	username, password = parameters["username"], parameters["password"]
	if username == "" || password == "" {
		return "", "", httpx.BadRequest("username and password are required")
	}
	return username, password, nil
}

// issue answers with a token that acts as full for the user.
func (e *Endpoint) issue(w http.ResponseWriter, r *http.Request, u *directory.User) {
	// First the epochs, then the account: a change in between ends the token.
	epochs := e.Ended.Epochs(ended.Holder{ClientID: token.SignInClientID, UserID: u.ID, OrganizationID: u.OrganizationID})
	if present, ok := e.Directory.Load().User(u.ID); !ok || !present.Enabled || present.PasswordHash != u.PasswordHash {
		e.refuse(w, r, user.ErrInvalidCredentials)
		return
	}
	raw, err := e.Issuer.Issue(&token.AccessToken{Subject: u.ID, ClientID: token.SignInClientID, OrgID: u.OrganizationID,
		Scopes: []string{oauth.ScopeFull}, Epochs: epochs, AuthTime: e.Now()})
	if err != nil {
		httpx.Fail(w, r, e.Logger, err)
		return
	}
	e.Metrics.TokenIssued(metrics.GrantLogin)
	e.Audit.Record(r.Context(), audit.Event{Action: audit.TokenIssued, ClientID: token.SignInClientID, OrgID: u.OrganizationID,
		SourceIP: audit.SourceIP(r), ActorSubject: u.ID, Scopes: []string{oauth.ScopeFull}})
	httpx.JSON(w, http.StatusOK, response{AccessToken: raw, TokenType: oauth.TokenTypeBearer, RedirectURL: "/home/"})
}

func (e *Endpoint) refuse(w http.ResponseWriter, r *http.Request, err error) {
	throttled := (*user.ThrottledError)(nil)
	switch {
	case errors.Is(err, user.ErrInvalidCredentials):
		e.audit(r, "wrong username or password")
		httpx.EventOf(r.Context()).Fail(oauth.Errorf(oauth.CodeInvalidGrant, "wrong username or password").WithCause(err))
		w.Header().Set("Cache-Control", "no-store")
		// The platform's clients know this text.
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
	case errors.As(err, &throttled):
		e.audit(r, "too many failed attempts")
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(throttled.RetryAfter.Seconds()))))
		httpx.Fail(w, r, e.Logger, httpx.Problemf(http.StatusTooManyRequests, "too many failed attempts, try again later"))
	case errors.Is(err, user.ErrBusy):
		httpx.Fail(w, r, e.Logger, httpx.Problemf(http.StatusServiceUnavailable, "too many sign-ins at once, try again"))
	default:
		httpx.Fail(w, r, e.Logger, err)
	}
}

func (e *Endpoint) audit(r *http.Request, reason string) {
	e.Audit.Record(r.Context(), audit.Event{Action: audit.TokenRefused, ClientID: token.SignInClientID, SourceIP: audit.SourceIP(r),
		Reason: reason})
}

// logout ends the presented token. One that is worth nothing already has ended.
func (e *Endpoint) logout(w http.ResponseWriter, r *http.Request) {
	raw, ok := token.Bearer(r)
	if !ok {
		httpx.Fail(w, r, e.Logger, &httpx.Problem{Status: http.StatusUnauthorized, Message: "a bearer token is needed", Challenge: "Bearer"})
		return
	}
	t, err := e.Verifier.Recognise(r.Context(), raw)
	if err == nil {
		err = e.end(r, t)
	}
	if err != nil && !errors.Is(err, token.ErrInvalid) {
		httpx.Fail(w, r, e.Logger, fmt.Errorf("ending a token: %w", err))
		return
	}
	httpx.NoContent(w)
}

func (e *Endpoint) end(r *http.Request, t *token.AccessToken) error {
	if err := e.Ended.EndToken(r.Context(), t.ID, t.ExpiresAt); err != nil {
		return err
	}
	e.Audit.Record(r.Context(), audit.Event{Action: audit.TokenRevoked, ClientID: t.ClientID, OrgID: t.OrgID,
		SourceIP: audit.SourceIP(r), ActorSubject: t.Subject, Reason: "signed out"})
	return nil
}
