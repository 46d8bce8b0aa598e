// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"context"
	"net/http"

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
