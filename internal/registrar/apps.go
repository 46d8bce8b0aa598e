// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"connectedapps.dev/operator/internal/oauth"
)

// AppRequest is what is sent to create or change an app. A zero member is left
// out; an empty array that is not nil is sent and empties the list; a pointer
// to the empty string removes a text.
type AppRequest struct {
	// ClientID and ClientSecret restore an app under its former id.
	ClientID                string                    `json:"client_id,omitzero"`
	ClientSecret            string                    `json:"client_secret,omitzero"`
	ExternalID              string                    `json:"external_id,omitzero"`
	ClientName              string                    `json:"client_name,omitzero"`
	GrantTypes              []string                  `json:"grant_types,omitzero"`
	RedirectURIs            []string                  `json:"redirect_uris,omitzero"`
	Scopes                  []string                  `json:"scopes,omitzero"`
	PublicKeys              []string                  `json:"public_keys,omitzero"`
	Audience                string                    `json:"audience,omitzero"`
	ClientURI               *string                   `json:"client_uri,omitzero"`
	PolicyURI               *string                   `json:"policy_uri,omitzero"`
	TOSURI                  *string                   `json:"tos_uri,omitzero"`
	Enabled                 *bool                     `json:"enabled,omitzero"`
	TokenEndpointAuthMethod string                    `json:"token_endpoint_auth_method,omitzero"`
	AccessTokenFormat       string                    `json:"access_token_format,omitzero"`
	PostLogoutRedirectURIs  []string                  `json:"post_logout_redirect_uris,omitzero"`
	IdentityProviders       []string                  `json:"identity_providers,omitzero"`
	RefreshGraceSeconds     *int64                    `json:"refresh_grace_seconds,omitzero"`
	FederatedIdentities     []oauth.FederatedIdentity `json:"federated_identities,omitzero"`
}

// Register creates an app and reports true, or reports false when an app with
// this external id exists: that app comes back with an additional secret, and
// nothing else of the request was applied. With an external id it is safe to
// repeat; on a server without that extension it is not.
func (c *Client) Register(ctx context.Context, app AppRequest) (oauth.ConnectedApp, bool, error) {
	// Some servers refuse a body without these arrays, even empty.
	for _, list := range []*[]string{&app.GrantTypes, &app.RedirectURIs, &app.Scopes, &app.PublicKeys} {
		if *list == nil {
			*list = []string{}
		}
	}
	var made oauth.ConnectedApp
	status, err := c.do(ctx, request{doing: "registering the app", method: http.MethodPost, path: c.apps(), body: app}, &made)
	if err == nil && made.ClientID == "" {
		err = &Error{Doing: "registering the app", Reason: ReasonInvalidAnswer, Status: status, Message: "the answer holds no client id"}
	}
	return made, status == http.StatusCreated, err
}

// Read returns one app; IsNotFound tells that there is none.
func (c *Client) Read(ctx context.Context, clientID string) (oauth.ConnectedApp, error) {
	var app oauth.ConnectedApp
	_, err := c.do(ctx, request{doing: "reading the app", method: http.MethodGet, path: c.app(clientID)}, &app)
	return app, err
}

// Update changes what is set in changes. It is safe to repeat.
func (c *Client) Update(ctx context.Context, clientID string, changes AppRequest) (oauth.ConnectedApp, error) {
	var app oauth.ConnectedApp
	_, err := c.do(ctx, request{doing: "updating the app", method: http.MethodPatch, path: c.app(clientID), body: changes}, &app)
	return app, err
}

// ResetSecret makes a new secret and ends all others at once. Servers without
// the secrets extension know no other way to rotate.
func (c *Client) ResetSecret(ctx context.Context, clientID string) (oauth.ConnectedApp, error) {
	var app oauth.ConnectedApp
	q := request{
		doing: "resetting the secret", method: http.MethodPatch, path: c.app(clientID), query: url.Values{"resetSecret": {"true"}}, body: struct{}{},
	}
	_, err := c.do(ctx, q, &app)
	return app, err
}

// Delete removes an app. One that is gone already is no error.
func (c *Client) Delete(ctx context.Context, clientID string) error {
	_, err := c.do(ctx, request{doing: "deleting the app", method: http.MethodDelete, path: c.app(clientID)}, nil)
	if IsNotFound(err) {
		return nil
	}
	return err
}

// ListQuery selects a page of apps.
type ListQuery struct {
	// ExternalID matches exactly, Search a part of any property; empty: all.
	ExternalID, Search string
	// Offset counts from 0. Limit 0 is the server's default.
	Offset, Limit int
}

// List returns one page of the organization's apps in a stable order, and the
// number of all that match.
func (c *Client) List(ctx context.Context, q ListQuery) (oauth.List[oauth.ConnectedApp], error) {
	query := url.Values{}
	if q.ExternalID != "" {
		query.Set("external_id", q.ExternalID)
	}
	if q.Search != "" {
		query.Set("search", q.Search)
	}
	var page oauth.List[oauth.ConnectedApp]
	_, err := c.do(ctx, request{doing: "listing apps", method: http.MethodGet, path: c.apps(), query: paging(query, q.Offset, q.Limit)}, &page)
	return page, err
}

func paging(query url.Values, offset, limit int) url.Values {
	if offset > 0 {
		query.Set("offset", strconv.Itoa(offset))
	}
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	return query
}

// apps is the collection of the configured organization, or of the token's.
func (c *Client) apps() string {
	if c.config.OrganizationID == "" {
		return oauth.PathConnectedApps
	}
	return oauth.PathOrganizations + "/" + url.PathEscape(c.config.OrganizationID) + "/connectedApplications"
}

func (c *Client) app(clientID string) string { return c.apps() + "/" + url.PathEscape(clientID) }
