// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"connectedapps.dev/operator/internal/oauth"
)

// Fields are members of an app to send. A nil one is not sent: on an update it
// stays as it is, on a registration the server decides.
type Fields struct {
	ClientName             *string   `json:"client_name,omitempty"`
	GrantTypes             *[]string `json:"grant_types,omitempty"`
	RedirectURIs           *[]string `json:"redirect_uris,omitempty"`
	PostLogoutRedirectURIs *[]string `json:"post_logout_redirect_uris,omitempty"`
	// Scopes are the plain scopes of an app that acts for a user. Those of an
	// app that acts for itself have contexts and are set by PutScopes.
	Scopes     *[]string `json:"scopes,omitempty"`
	PublicKeys *[]string `json:"public_keys,omitempty"`
	Audience   *string   `json:"audience,omitempty"`
	// ClientURI, PolicyURI and TOSURI are emptied by the empty string.
	ClientURI *string `json:"client_uri,omitempty"`
	PolicyURI *string `json:"policy_uri,omitempty"`
	TOSURI    *string `json:"tos_uri,omitempty"`
	Enabled   *bool   `json:"enabled,omitempty"`
	// IdentityProviders and AssertionsWithoutExpiry are about the JWT bearer grant.
	IdentityProviders       *[]string `json:"identity_providers,omitempty"`
	AssertionsWithoutExpiry *bool     `json:"assertions_without_expiry,omitempty"`
	SkipUserConsent         *bool     `json:"skip_user_consent,omitempty"`
	// FederatedIdentities need the extension federated_identities.
	FederatedIdentities *[]oauth.FederatedIdentity `json:"federated_identities,omitempty"`
	// TokenEndpointAuthMethod is one of oauth.AuthMethod….
	TokenEndpointAuthMethod      *string `json:"token_endpoint_auth_method,omitempty"`
	AccessTokenFormat            *string `json:"access_token_format,omitempty"`
	AccessTokenSignedResponseAlg *string `json:"access_token_signed_response_alg,omitempty"`
	IDTokenSignedResponseAlg     *string `json:"id_token_signed_response_alg,omitempty"`
	RefreshGraceSeconds          *int64  `json:"refresh_grace_seconds,omitempty"`
	// ClientID brings an app back under its former id, on registration only,
	// together with ClientSecret; it needs the extension restore.
	ClientID *string `json:"client_id,omitempty"`
	// ClientSecret is a secret the caller chose. On an update it becomes the
	// only one, unless it is accepted already.
	ClientSecret *string `json:"client_secret,omitempty"`
}

// secrets are what an error must not repeat.
func (f Fields) secrets() []string {
	if f.ClientSecret == nil {
		return nil
	}
	return []string{*f.ClientSecret}
}

// registration is the body of a registration.
type registration struct {
	Fields
	ExternalID string `json:"external_id,omitempty"`
}

// Registered is the answer to a registration.
type Registered struct {
	// App is the app, with ClientSecret and ClientSecretID when it has a
	// secret.
	App oauth.ConnectedApp
	// Existed is true when the external id was in use: App is what that app
	// is like, nothing of the request was applied to it, and the secret is an
	// additional one.
	Existed bool
}

// Register creates an app.
//
// On a server with the extension external_id it is safe to repeat with the same
// externalID: the second answer is the same app with one more secret, and
// nothing that was given out before stops working. Without the extension (or
// with an empty externalID) each call makes one more app, and the caller has to
// find by List what an earlier call made.
func (c *Client) Register(ctx context.Context, externalID string, fields Fields) (*Registered, error) {
	answer := &Registered{}
	status, err := c.call(ctx, request{
		op: "registering the app", method: http.MethodPost, path: "/connectedApplications",
		body: registration{Fields: fields, ExternalID: externalID}, into: &answer.App, success: []int{http.StatusCreated, http.StatusOK},
		redact: fields.secrets(),
	})
	if err != nil {
		return nil, err
	}
	answer.Existed = status == http.StatusOK
	return answer, checkApp("registering the app", &answer.App, "")
}

// Read returns an app, IsNotFound when there is none. Reading changes nothing.
func (c *Client) Read(ctx context.Context, clientID string) (*oauth.ConnectedApp, error) {
	app := &oauth.ConnectedApp{}
	_, err := c.call(ctx, request{
		op: "reading the app", method: http.MethodGet, path: appPath(clientID), into: app, success: []int{http.StatusOK},
	})
	if err != nil {
		return nil, err
	}
	return app, checkApp("reading the app", app, clientID)
}

// ReadRaw returns an app as the server writes it, with members that are not in
// oauth.ConnectedApp; IsNotFound when there is none. It may hold a client secret.
func (c *Client) ReadRaw(ctx context.Context, clientID string) (json.RawMessage, error) {
	var app json.RawMessage
	_, err := c.call(ctx, request{
		op: "reading the app", method: http.MethodGet, path: appPath(clientID), into: &app, success: []int{http.StatusOK},
	})
	return app, err
}

// Update changes the fields that are not nil and returns the app. It is safe to
// repeat: fields that are already so change nothing.
func (c *Client) Update(ctx context.Context, clientID string, fields Fields) (*oauth.ConnectedApp, error) {
	app := &oauth.ConnectedApp{}
	_, err := c.call(ctx, request{
		op: "updating the app", method: http.MethodPatch, path: appPath(clientID), body: fields, into: app, success: []int{http.StatusOK},
		redact: fields.secrets(),
	})
	if err != nil {
		return nil, err
	}
	return app, checkApp("updating the app", app, clientID)
}

// Delete removes an app. It is safe to repeat: an app that is gone is no error.
func (c *Client) Delete(ctx context.Context, clientID string) error {
	_, err := c.call(ctx, request{
		op: "deleting the app", method: http.MethodDelete, path: appPath(clientID), success: []int{http.StatusNoContent},
	})
	return IgnoreNotFound(err)
}

// Page is one page of a list.
type Page struct {
	Apps []oauth.ConnectedApp
	// Total counts the apps of all pages.
	Total int
}

// List returns the apps from offset on, at most limit. The server may return
// fewer than limit before the end: the next offset is this one plus the number
// of rows, and the list ends at Total or at a page without rows.
func (c *Client) List(ctx context.Context, offset, limit int) (*Page, error) {
	return c.list(ctx, "listing the apps", url.Values{"offset": {strconv.Itoa(offset)}, "limit": {strconv.Itoa(limit)}})
}

// AppByExternalID returns the app with this external id, IsNotFound when there
// is none. It is meaningful only on a server with the extension external_id;
// others ignore the filter, so that what they answer is compared here.
func (c *Client) AppByExternalID(ctx context.Context, externalID string) (*oauth.ConnectedApp, error) {
	const op = "looking up the external id"
	page, err := c.list(ctx, op, url.Values{"external_id": {externalID}})
	if err != nil {
		return nil, err
	}
	for i := range page.Apps {
		if page.Apps[i].ExternalID == externalID {
			return &page.Apps[i], nil
		}
	}
	return nil, &Error{Op: op, Reason: ReasonNotFound, Message: "no app has it"}
}

func (c *Client) list(ctx context.Context, op string, query url.Values) (*Page, error) {
	var answer rows[oauth.ConnectedApp]
	_, err := c.call(ctx, request{
		op: op, method: http.MethodGet, path: "/connectedApplications", query: query, into: &answer,
		limit: maxListBody, success: []int{http.StatusOK},
	})
	if err != nil {
		return nil, err
	}
	if err := answer.check(op); err != nil {
		return nil, err
	}
	for i := range *answer.Data {
		if err := checkApp(op, &(*answer.Data)[i], ""); err != nil {
			return nil, err
		}
	}
	return &Page{Apps: *answer.Data, Total: answer.Total}, nil
}

// rows is a list answer that tells an empty list from a missing one.
type rows[T any] struct {
	Data  *[]T `json:"data"`
	Total int  `json:"total"`
}

func (r rows[T]) check(op string) error {
	if r.Data == nil {
		return unexpected(op, http.StatusOK, "a list without the member data")
	}
	return nil
}

// checkApp refuses an answer that is an object, but not the app that was asked
// for: nothing may be taken for somebody else's state.
func checkApp(op string, app *oauth.ConnectedApp, clientID string) error {
	switch {
	case app.ClientID == "":
		return unexpected(op, http.StatusOK, "an app without client_id")
	case clientID != "" && app.ClientID != clientID:
		return unexpected(op, http.StatusOK, "another app than the one asked for")
	}
	return nil
}

func appPath(clientID string) string { return "/connectedApplications/" + url.PathEscape(clientID) }
