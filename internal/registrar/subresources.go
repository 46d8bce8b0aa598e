// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"connectedapps.dev/operator/internal/oauth"
)

// maxScopes is the most scopes an app may have (contract section 9), and one
// for profile, which is implicit.
const maxScopes = 1001

// Scopes returns the scopes with their contexts of an app that acts for itself,
// in the order they were assigned.
func (c *Client) Scopes(ctx context.Context, clientID string) ([]oauth.ContextScope, error) {
	const op = "reading the scopes of the app"
	var all []oauth.ContextScope
	for {
		page, err := c.scopePage(ctx, op, clientID, len(all))
		if err != nil {
			return nil, err
		}
		all = append(all, *page.Data...)
		if len(*page.Data) == 0 || len(all) >= page.Total {
			return all, nil
		}
		if len(all) > maxScopes {
			return nil, unexpected(op, http.StatusOK, "more than %d scopes", maxScopes)
		}
	}
}

func (c *Client) scopePage(ctx context.Context, op, clientID string, offset int) (*rows[oauth.ContextScope], error) {
	page := &rows[oauth.ContextScope]{}
	// The vendor's servers give 500 at a time (contract section 3.1).
	query := url.Values{"limit": {"500"}, "offset": {strconv.Itoa(offset)}}
	_, err := c.call(ctx, request{
		op: op, method: http.MethodGet, path: appPath(clientID) + "/scopes", query: query, into: page, success: []int{http.StatusOK},
	})
	if err != nil {
		return nil, err
	}
	return page, page.check(op)
}

// PutScopes replaces the scopes with contexts of an app that acts for itself. It
// is safe to repeat.
func (c *Client) PutScopes(ctx context.Context, clientID string, scopes []oauth.ContextScope) error {
	if scopes == nil {
		scopes = []oauth.ContextScope{}
	}
	_, err := c.call(ctx, request{
		op: "assigning the scopes of the app", method: http.MethodPut, path: appPath(clientID) + "/scopes",
		body: oauth.ScopesRequest{Scopes: scopes}, success: []int{http.StatusNoContent, http.StatusOK},
	})
	return err
}

// Secrets returns the secrets that the server accepts for the app, without
// their values. It needs the extension secrets.
func (c *Client) Secrets(ctx context.Context, clientID string) (*oauth.SecretList, error) {
	const op = "reading the secrets of the app"
	var answer struct {
		rows[oauth.Secret]
		CompleteUntil time.Time `json:"complete_until"`
	}
	_, err := c.call(ctx, request{
		op: op, method: http.MethodGet, path: appPath(clientID) + "/secrets", into: &answer, success: []int{http.StatusOK},
	})
	if err != nil {
		return nil, err
	}
	if err := answer.check(op); err != nil {
		return nil, err
	}
	return &oauth.SecretList{Data: *answer.Data, Total: answer.Total, CompleteUntil: answer.CompleteUntil}, nil
}

// AddSecret makes one more secret and lets those before it live for overlap at
// most, which is sent in whole seconds. A repeated call makes another secret:
// after a lost answer the caller finds by Secrets the ones it does not know and
// deletes them. It needs the extension secrets.
func (c *Client) AddSecret(ctx context.Context, clientID string, overlap time.Duration) (*oauth.Secret, error) {
	const op = "adding a secret to the app"
	secret := &oauth.Secret{}
	_, err := c.call(ctx, request{
		op: op, method: http.MethodPost, path: appPath(clientID) + "/secrets",
		body: oauth.SecretRequest{OverlapSeconds: int64(overlap / time.Second)}, into: secret,
		success: []int{http.StatusCreated, http.StatusOK},
	})
	if err != nil {
		return nil, err
	}
	if secret.ID == "" || secret.ClientSecret == "" {
		return nil, unexpected(op, http.StatusCreated, "no secret")
	}
	return secret, nil
}

// DeleteSecret ends one secret at once. It is safe to repeat: a secret, or an
// app, that is gone is no error. It needs the extension secrets.
func (c *Client) DeleteSecret(ctx context.Context, clientID, secretID string) error {
	_, err := c.call(ctx, request{
		op: "deleting a secret of the app", method: http.MethodDelete,
		path: appPath(clientID) + "/secrets/" + url.PathEscape(secretID), success: []int{http.StatusNoContent},
	})
	return IgnoreNotFound(err)
}
