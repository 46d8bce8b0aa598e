// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"context"
	"net/http"
	"net/url"

	"connectedapps.dev/operator/internal/oauth"
)

// scopePage is the page that every server gives.
const scopePage = 500

// Scopes returns all scopes of an app, in their order. The implicit profile may
// be among them.
func (c *Client) Scopes(ctx context.Context, clientID string) ([]oauth.ContextScope, error) {
	all := []oauth.ContextScope{}
	for {
		var page oauth.List[oauth.ContextScope]
		q := request{
			doing: "reading the app's scopes", method: http.MethodGet, path: c.app(clientID) + "/scopes", query: paging(url.Values{}, len(all), scopePage),
		}
		if _, err := c.do(ctx, q, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Data...)
		if len(page.Data) == 0 || len(all) >= page.Total {
			return all, nil
		}
	}
}

// PutScopes makes scopes the only ones of an app. It is safe to repeat.
func (c *Client) PutScopes(ctx context.Context, clientID string, scopes []oauth.ContextScope) error {
	if scopes == nil {
		scopes = []oauth.ContextScope{}
	}
	q := request{
		doing: "assigning the app's scopes", method: http.MethodPut, path: c.app(clientID) + "/scopes", body: oauth.ScopesRequest{Scopes: scopes},
	}
	_, err := c.do(ctx, q, nil)
	return err
}
