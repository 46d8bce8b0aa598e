// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"context"
	"net/http"
	"net/url"

	"connectedapps.dev/operator/internal/oauth"
)

// ResetSecret gives an app a new secret and returns the app with it. All earlier
// ones end at once: on a server with the extension secrets there are better ways.
// Repeating it makes one more.
func (c *Client) ResetSecret(ctx context.Context, clientID string) (*oauth.ConnectedApp, error) {
	const op = "resetting the client secret"
	app := &oauth.ConnectedApp{}
	_, err := c.call(ctx, request{
		op: op, method: http.MethodPatch, path: appPath(clientID), query: url.Values{"resetSecret": {"true"}},
		body: Fields{}, into: app, success: []int{http.StatusOK},
	})
	if err != nil {
		return nil, err
	}
	if app.ClientSecret == "" {
		return nil, unexpected(op, http.StatusOK, "an app without client_secret")
	}
	return app, checkApp(op, app, clientID)
}
