// SPDX-License-Identifier: Apache-2.0

// Package grant decides which tokens a request to the token endpoint gets: one
// file and one type for each grant type. It never sees HTTP; the endpoint has
// authenticated the client and read the parameters.
package grant

import (
	"context"
	"net/netip"
	"slices"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/clientauth"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/scopes"
	"connectedapps.dev/operator/internal/tokenserver/token"
)

// Request is a token request whose client has been authenticated.
type Request struct {
	// Client is nil only for a grant that does not need it, when the request
	// named none.
	Client *clientauth.Client
	// ClientID is what a request named beside an assertion, which proves nothing.
	ClientID string
	// Scopes are those asked for; none means all the client may have.
	Scopes []string

	Code, RedirectURI, CodeVerifier string
	RefreshToken                    string
	Username, Password              string
	Assertion                       string

	// Source is the address of the caller; the zero value: not known.
	Source netip.Addr
}

// Result is what a grant decided: the answer, and what the audit log says of it.
type Result struct {
	Response *oauth.TokenResponse
	App      *clients.App
	Token    *token.AccessToken
}

// Grant is one grant type.
type Grant interface {
	// Type is the grant_type.
	Type() string
	// NeedsClient tells that the client must have authenticated; otherwise the
	// grant finds it itself.
	NeedsClient() bool
	// Cached tells that what is in memory is enough, also while the database does
	// not answer (tokenserver.md 23).
	Cached() bool
	// Authorize decides. Errors: *oauth.Error, or the server's own trouble.
	Authorize(ctx context.Context, r *Request) (*Result, error)
}

// CheckListed refuses a grant type that the app does not list.
// https://www.rfc-editor.org/rfc/rfc6749#section-5.2
func CheckListed(app *clients.App, grantType string) error {
	if slices.Contains(app.GrantTypes, grantType) {
		return nil
	}
	return oauth.Errorf(oauth.CodeUnauthorizedClient, "the client may not use the grant type %s", grantType)
}

// narrow returns the scopes asked for, or all when none is. One that is not
// allowed is an error that names it; beside openid, when that is allowed, it is
// left out, as at the authorization endpoint (tokenserver.md 11): libraries
// repeat at a refresh what they asked for at the beginning.
// https://www.rfc-editor.org/rfc/rfc6749#section-3.3
func narrow(allowed, asked []string) ([]string, error) {
	if len(asked) == 0 {
		return allowed, nil
	}
	left := make(map[string]bool, len(allowed))
	for _, scope := range allowed {
		left[scope] = true
	}
	lenient := left[oauth.ScopeOpenID] && slices.Contains(asked, oauth.ScopeOpenID)
	granted := make([]string, 0, len(asked))
	for _, scope := range asked {
		fresh, known := left[scope]
		if !known && lenient && scopes.WellFormed(scope) {
			continue
		}
		if !known {
			return nil, oauth.Errorf(oauth.CodeInvalidScope, "the scope %s is not one the client may have", scopeText(scope))
		}
		if fresh {
			granted = append(granted, scope)
		}
		left[scope] = false
	}
	return granted, nil
}

// scopeText repeats a scope only when it is one that a description may hold.
func scopeText(scope string) string {
	const limit = 128
	for _, c := range scope {
		if c < '!' || c > '~' || c == '"' || c == '\\' || len(scope) > limit {
			return "asked for"
		}
	}
	return scope
}

// answer makes the response for an issued access token.
func answer(raw string, t *token.AccessToken) *oauth.TokenResponse {
	return &oauth.TokenResponse{
		AccessToken: raw,
		TokenType:   oauth.TokenTypeBearer,
		ExpiresIn:   int64(t.ExpiresAt.Sub(t.IssuedAt).Seconds()),
		Scope:       oauth.JoinScopes(t.Scopes),
	}
}
