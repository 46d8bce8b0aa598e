// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

func TestWhichOriginsMayCall(t *testing.T) {
	i := tokenservertest.Start(t)
	browserApp := register(t, i, `{"client_name":"spa","grant_types":["authorization_code"],"scopes":["openid"],
		"redirect_uris":["https://spa.example.com/cb","http://127.0.0.1:3000/cb","com.example.app:/cb","https://Port.example.com:443/cb"],
		"token_endpoint_auth_method":"none"}`)
	register(t, i, `{"client_name":"web","grant_types":["authorization_code"],"scopes":["openid"],"redirect_uris":["https://web.example.com/cb"]}`)
	ask := func(method, path, origin string) *http.Response {
		request, err := http.NewRequestWithContext(t.Context(), method, i.URL+path, nil)
		require.NoError(t, err)
		request.Header.Set("Origin", origin)
		request.Header.Set("Access-Control-Request-Method", http.MethodPost)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response
	}
	const spa, allow = "https://spa.example.com", "Access-Control-Allow-Origin"
	for _, path := range []string{oauth.PathToken, oauth.PathUserInfo, oauth.PathRevoke} {
		preflight := ask(http.MethodOptions, path, spa)
		assert.Equal(t, http.StatusNoContent, preflight.StatusCode, path)
		assert.Equal(t, spa, preflight.Header.Get(allow))
		assert.Equal(t, "Authorization, Content-Type", preflight.Header.Get("Access-Control-Allow-Headers"))
		assert.Empty(t, preflight.Header.Get("Access-Control-Allow-Credentials"))
		assert.Equal(t, spa, ask(http.MethodPost, path, spa).Header.Get(allow), "an error is readable too")
		assert.Equal(t, "http://127.0.0.1:3000", ask(http.MethodPost, path, "http://127.0.0.1:3000").Header.Get(allow))
		for _, origin := range []string{"http://127.0.0.1", "http://127.0.0.1:5173", "https://port.example.com"} {
			assert.Equal(t, origin, ask(http.MethodOptions, path, origin).Header.Get(allow), "a redirect URI may have it")
		}
		for _, origin := range []string{
			"http://127.0.0.1:5173.evil.example", "http://127.0.0.1:", "http://127.0.0.2:3000", "http://[::1]:3000", "https://127.0.0.1:3000",
			"https://web.example.com", "https://evil.example.com", "null", "http://spa.example.com", "https://spa.example.com:8443",
			"https://spa.example.com.evil.example", "com.example.app:",
		} {
			response := ask(http.MethodOptions, path, origin)
			assert.Empty(t, response.Header.Get(allow), origin)
			assert.Contains(t, response.Header.Values("Vary"), "Origin")
		}
	}
	for _, path := range []string{oauth.PathAuthorize, oauth.PathConnectedApps, "/accounts/sign-in", "/accounts/login", oauth.PathIntrospect} {
		assert.Empty(t, ask(http.MethodGet, path, spa).Header.Get(allow), path)
	}
	for _, path := range []string{oauth.PathDiscovery, oauth.PathMetadata, oauth.PathJWKS} {
		preflight := ask(http.MethodOptions, path, "https://anybody.example")
		assert.Equal(t, http.StatusNoContent, preflight.StatusCode, path)
		assert.Equal(t, "*", preflight.Header.Get(allow))
		assert.Equal(t, "GET", preflight.Header.Get("Access-Control-Allow-Methods"))
		assert.Equal(t, "*, Authorization", preflight.Header.Get("Access-Control-Allow-Headers"), "libraries send a token with every request")
		assert.Equal(t, "*", ask(http.MethodGet, path, "https://anybody.example").Header.Get(allow))
	}
	_, err := i.Store.UpdateApp(t.Context(), browserApp.ClientID, browserApp.CreatedAt, func(a *storage.App) error { a.Enabled = false; return nil })
	require.NoError(t, err)
	require.NoError(t, i.Server.Load(t.Context()))
	assert.Empty(t, ask(http.MethodPost, oauth.PathToken, spa).Header.Get(allow), "a disabled app calls no more")
}
