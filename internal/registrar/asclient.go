// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"

	"connectedapps.dev/operator/internal/oauth"
)

// Revoke ends an access token on behalf of the client it was issued to. It is
// safe to repeat: a token that is unknown or has ended is no error
// (https://www.rfc-editor.org/rfc/rfc7009#section-2.2).
func (c *Client) Revoke(ctx context.Context, token, clientID, clientSecret string) error {
	_, err := c.send(ctx, request{
		op: "revoking the token", method: http.MethodPost, path: oauth.PathRevoke, login: true,
		form: map[string]string{
			"token":           token,
			"token_type_hint": "access_token",
			"client_id":       clientID,
			"client_secret":   clientSecret,
		},
		redact: []string{token, clientSecret}, success: []int{http.StatusOK},
	}, "")
	return err
}

// Authenticates tells whether the server accepts a secret as a client's, at its
// token endpoint. It changes nothing but that a client which may, gets an access
// token that nobody has. A server that looks at the grant before it looks at the
// secret is asked once more, with a secret that cannot be right: what it refuses
// in the same way proves nothing.
func (c *Client) Authenticates(ctx context.Context, clientID, clientSecret string) (bool, error) {
	err := c.requestToken(ctx, clientID, clientSecret)
	switch {
	case err == nil:
		return true, nil
	case isInvalidClient(err):
		return false, nil
	case ReasonOf(err) != ReasonCredentialsRefused:
		return false, err
	}
	err = c.requestToken(ctx, clientID, rand.Text())
	if err == nil || ReasonOf(err) == ReasonCredentialsRefused {
		return isInvalidClient(err), nil
	}
	return false, err
}

func (c *Client) requestToken(ctx context.Context, clientID, clientSecret string) error {
	_, err := c.send(ctx, request{
		op: "authenticating as the client", method: http.MethodPost, path: oauth.PathToken, login: true,
		form:   map[string]string{"grant_type": oauth.GrantClientCredentials, "client_id": clientID, "client_secret": clientSecret},
		redact: []string{clientSecret}, success: []int{http.StatusOK},
	}, "")
	return err
}

// isInvalidClient tells a refusal of the client from one of what it asks for
// (https://www.rfc-editor.org/rfc/rfc6749#section-5.2).
func isInvalidClient(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Reason == ReasonCredentialsRefused && (e.Status == http.StatusUnauthorized || strings.HasPrefix(e.Message, oauth.CodeInvalidClient))
}
