// SPDX-License-Identifier: Apache-2.0

package token

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
)

// Authenticate returns what the request's bearer token says. A token in a body
// or in a URL is not read: neither is safe there (RFC 6750 sections 2.2 and 2.3).
// The error has the status to answer: 401 with invalid_token, whatever was wrong
// with the token, or that of httpx.AsError when the server could not tell.
// https://www.rfc-editor.org/rfc/rfc6750
func (v *Verifier) Authenticate(r *http.Request) (*AccessToken, *oauth.Error) {
	raw, ok := Bearer(r)
	if !ok {
		return nil, oauth.Errorf(oauth.CodeInvalidToken, "an access token is required: send Authorization: Bearer and the token")
	}
	t, err := v.Verify(r.Context(), raw)
	if errors.Is(err, ErrInvalid) {
		return nil, oauth.Errorf(oauth.CodeInvalidToken, "the access token is unknown, expired or revoked").WithCause(err)
	}
	if err != nil {
		return nil, httpx.AsError(fmt.Errorf("verifying an access token: %w", err))
	}
	httpx.EventOf(r.Context()).ClientID = t.ClientID
	return t, nil
}

// Bearer returns the token of a request's Authorization header, unverified. The
// scheme's name has any case; real clients send it in lower case too.
func Bearer(r *http.Request) (string, bool) {
	scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	value = strings.TrimSpace(value)
	return value, strings.EqualFold(scheme, "Bearer") && value != ""
}
