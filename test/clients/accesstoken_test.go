// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"fmt"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// signingAlgs are those of access tokens: not said, and each that may be said.
var signingAlgs = map[string]string{"": "ES256", "ES256": "ES256", "RS256": "RS256"}

func machineToken(t *testing.T, i *tokenservertest.Instance, alg string) (oauth.ConnectedApp, *oauth2.Token) {
	t.Helper()
	app := register(t, i, fmt.Sprintf(`{"client_name":"Machine","grant_types":["client_credentials"],"access_token_signed_response_alg":%q}`, alg))
	config := clientcredentials.Config{ClientID: app.ClientID, ClientSecret: app.ClientSecret, TokenURL: i.URL + oauth.PathToken}
	token, err := config.Token(withClient(t, i))
	require.NoError(t, err)
	return app, token
}

// TestGoOIDCTakesAccessTokens verifies access tokens as oauth2-proxy and kubelogin
// do, which read in discovery what may sign.
func TestGoOIDCTakesAccessTokens(t *testing.T) {
	i := serve(t)
	for alg := range signingAlgs {
		t.Run(alg, func(t *testing.T) {
			app, token := machineToken(t, i, alg)
			provider, err := oidc.NewProvider(t.Context(), i.URL+oauth.IssuerPath)
			require.NoError(t, err)
			verified, err := provider.Verifier(&oidc.Config{ClientID: i.URL + oauth.IssuerPath}).Verify(t.Context(), token.AccessToken)
			require.NoError(t, err)
			require.Equal(t, app.ClientID, verified.Subject)
		})
	}
}

// TestOAuth4WebAPITakesAccessTokens verifies them as a resource server in
// JavaScript does, by RFC 9068.
func TestOAuth4WebAPITakesAccessTokens(t *testing.T) {
	i := serve(t)
	for alg, want := range signingAlgs {
		t.Run(alg, func(t *testing.T) {
			app, token := machineToken(t, i, alg)
			result := converse(t, i, "accesstoken.mjs", map[string]string{"issuer": i.URL + oauth.IssuerPath, "token": token.AccessToken})
			require.Equal(t, map[string]any{"sub": app.ClientID, "client_id": app.ClientID, "alg": want}, result)
		})
	}
}

// TestAnAppChoosesWhatSignsItsIDTokens has go-oidc verify both.
func TestAnAppChoosesWhatSignsItsIDTokens(t *testing.T) {
	i := serve(t)
	for _, alg := range []string{"RS256", "ES256"} {
		t.Run(alg, func(t *testing.T) {
			app := register(t, i, fmt.Sprintf(`{"client_name":"Web","grant_types":["authorization_code"],"redirect_uris":[%q],
				"scopes":["openid","profile"],"id_token_signed_response_alg":%q}`, redirectURI, alg))
			provider, err := oidc.NewProvider(t.Context(), i.URL+oauth.IssuerPath)
			require.NoError(t, err)
			verifier := provider.Verifier(&oidc.Config{ClientID: app.ClientID, SupportedSigningAlgs: []string{alg}})
			_, err = verifier.Verify(t.Context(), idToken(t, i, app))
			require.NoError(t, err)
		})
	}
}
