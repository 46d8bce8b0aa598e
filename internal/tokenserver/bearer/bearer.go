// SPDX-License-Identifier: Apache-2.0

// Package bearer authenticates a request by its bearer token.
// https://www.rfc-editor.org/rfc/rfc6750
package bearer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/token"
)

// Verifier verifies access tokens; *token.Verifier is one.
type Verifier interface {
	Verify(ctx context.Context, raw string) (*token.AccessToken, error)
}

// Authenticator reads the Authorization header. A token in a body or in a URL
// is not read: neither is safe there (RFC 6750 sections 2.2 and 2.3).
type Authenticator struct{ Verifier Verifier }

// Authenticate returns what the request's token says. The error has the status
// to answer: 401 with invalid_token, whatever was wrong with it, or that of
// httpx.AsError when the server could not tell.
func (a *Authenticator) Authenticate(r *http.Request) (*token.AccessToken, *oauth.Error) {
	raw, ok := Token(r)
	if !ok {
		return nil, oauth.Errorf(oauth.CodeInvalidToken, "an access token is required: send Authorization: Bearer and the token")
	}
	t, err := a.Verifier.Verify(r.Context(), raw)
	if errors.Is(err, token.ErrInvalid) {
		return nil, oauth.Errorf(oauth.CodeInvalidToken, "the access token is unknown, expired or revoked").WithCause(err)
	}
	if err != nil {
		return nil, httpx.AsError(fmt.Errorf("verifying an access token: %w", err))
	}
	httpx.EventOf(r.Context()).ClientID = t.ClientID
	return t, nil
}

// Token returns the bearer token of a request. The scheme's name has any case;
// real clients send it in lower case too.
func Token(r *http.Request) (string, bool) {
	scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	value = strings.TrimSpace(value)
	return value, strings.EqualFold(scheme, "Bearer") && value != ""
}
