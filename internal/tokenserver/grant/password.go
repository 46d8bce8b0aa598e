// SPDX-License-Identifier: Apache-2.0

package grant

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// Password lets an app act for a user who gave it name and password. RFC 9700
// section 2.4 advises against it; only apps that list it may use it, since the
// platform's existing clients do.
// https://www.rfc-editor.org/rfc/rfc6749#section-4.3
type Password struct {
	Authenticator *user.Authenticator
	Tokens        *UserTokens
	Now           func() time.Time
}

// Type implements Grant.
func (g *Password) Type() string { return oauth.GrantPassword }

// NeedsClient implements Grant.
func (g *Password) NeedsClient() bool { return true }

// Cached implements Grant.
func (g *Password) Cached() bool { return false }

// Authorize implements Grant.
func (g *Password) Authorize(ctx context.Context, r *Request) (*Result, error) {
	if r.Username == "" || r.Password == "" {
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "the parameters username and password are required")
	}
	app := r.Client.App
	scopes, err := narrow(withoutConsent(app), r.Scopes)
	if err != nil {
		return nil, err
	}
	person, err := g.Authenticator.Authenticate(ctx, user.Attempt{
		Login: r.Username, Password: r.Password, OrgID: app.OrgID, Source: r.Source,
	})
	if err == nil {
		err = user.Admits(app, person)
	}
	if err != nil {
		return nil, passwordRefusal(err)
	}
	a, err := g.Tokens.admit(ctx, app, person)
	if err != nil {
		return nil, err
	}
	a.scopes, a.authTime = scopes, g.Now()
	return g.Tokens.issue(ctx, a)
}

// withoutConsent are the app's scopes but offline_access, for which a user must
// have been asked.
func withoutConsent(app *clients.App) []string {
	return slices.DeleteFunc(slices.Clone(app.Scopes), func(scope string) bool { return scope == oauth.ScopeOfflineAccess })
}

func passwordRefusal(err error) error {
	throttled := (*user.ThrottledError)(nil)
	switch {
	case errors.Is(err, user.ErrInvalidCredentials), errors.Is(err, user.ErrDisabled), errors.Is(err, user.ErrNotAdmitted):
		return oauth.Errorf(oauth.CodeInvalidGrant, "the username or the password is wrong, or the app is not open to the user").WithCause(err)
	case errors.As(err, &throttled):
		return &oauth.Error{Code: oauth.CodeTemporarilyUnavailable, Description: "too many failed attempts for this user, try again later",
			Status: http.StatusTooManyRequests, RetryAfter: throttled.RetryAfter, Cause: err}
	case errors.Is(err, user.ErrBusy):
		busy := oauth.Errorf(oauth.CodeTemporarilyUnavailable, "too many password checks at once, try again").WithCause(err)
		busy.RetryAfter = httpx.RetryAfter
		return busy
	}
	return err
}
