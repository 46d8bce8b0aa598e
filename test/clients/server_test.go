// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// redirectURI is where the apps want their codes; nobody listens there.
const redirectURI = "https://app.example.com/callback"

const (
	webApp = `{"client_name":"Web","grant_types":["authorization_code","refresh_token"],"audience":"internal",
		"redirect_uris":["` + redirectURI + `"],"post_logout_redirect_uris":["https://app.example.com/bye"],
		"scopes":["openid","profile","email","offline_access"]}`
	publicApp = `{"client_name":"Phone","grant_types":["authorization_code","refresh_token"],"audience":"internal",
		"redirect_uris":["` + redirectURI + `"],"scopes":["openid","profile","offline_access"],"token_endpoint_auth_method":"none"}`
	machineApp = `{"client_name":"Machine","grant_types":["client_credentials"],"audience":"internal"}`
)

// serve starts a token server whose users can sign in.
func serve(t *testing.T, options ...tokenservertest.Option) *tokenservertest.Instance {
	t.Helper()
	hash, err := user.HashPassword(tokenservertest.Password)
	require.NoError(t, err)
	return tokenservertest.Start(t, append(options, tokenservertest.WithPasswordHash(hash))...)
}

// withClient makes libraries that take their HTTP client from the context trust
// the server's certificate.
func withClient(t *testing.T, i *tokenservertest.Instance) context.Context {
	return context.WithValue(t.Context(), oauth2.HTTPClient, i.HTTP.Client())
}

// register creates an app through the management API.
func register(t *testing.T, i *tokenservertest.Instance, body string) oauth.ConnectedApp {
	t.Helper()
	admin := clientcredentials.Config{ClientID: i.AdminClientID, ClientSecret: i.AdminClientSecret, TokenURL: i.URL + oauth.PathToken}
	response, err := admin.Client(withClient(t, i)).Post(i.URL+oauth.PathConnectedApps, "application/json", strings.NewReader(body))
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, response.StatusCode, string(text))
	var app oauth.ConnectedApp
	require.NoError(t, json.Unmarshal(text, &app))
	return app
}
