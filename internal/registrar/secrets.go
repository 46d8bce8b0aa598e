// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"connectedapps.dev/operator/internal/oauth"
)

// Secrets lists the live secrets of an app, without their values. It needs the
// secrets extension.
func (c *Client) Secrets(ctx context.Context, clientID string) (oauth.SecretList, error) {
	var list oauth.SecretList
	_, err := c.do(ctx, request{doing: "listing the app's secrets", method: http.MethodGet, path: c.app(clientID) + "/secrets"}, &list)
	return list, err
}

// AddSecret makes one more secret; the earlier ones end after overlap at the
// latest. Repeating it makes another one. It needs the secrets extension.
func (c *Client) AddSecret(ctx context.Context, clientID string, overlap time.Duration) (oauth.Secret, error) {
	var secret oauth.Secret
	q := request{
		doing: "adding a secret", method: http.MethodPost, path: c.app(clientID) + "/secrets",
		body: oauth.SecretRequest{OverlapSeconds: int64(overlap / time.Second)},
	}
	status, err := c.do(ctx, q, &secret)
	if err == nil && (secret.ID == "" || secret.ClientSecret == "") {
		err = &Error{Doing: q.doing, Reason: ReasonInvalidAnswer, Status: status, Message: "the answer holds no secret"}
	}
	return secret, err
}

// DeleteSecret ends one secret at once. One that is gone already is no error.
func (c *Client) DeleteSecret(ctx context.Context, clientID, secretID string) error {
	q := request{doing: "deleting a secret", method: http.MethodDelete, path: c.app(clientID) + "/secrets/" + url.PathEscape(secretID)}
	_, err := c.do(ctx, q, nil)
	if IsNotFound(err) {
		return nil
	}
	return err
}
