// SPDX-License-Identifier: Apache-2.0

package connectedapp_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// An app with the JWT bearer grant is Ready and useful: it gets tokens for users
// of the identity provider that its spec names and a rule allows, and for no
// other's.
func TestAnAppSpeaksForTheUsersOfItsIdentityProvider(t *testing.T) {
	w := start(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	app := w.app(func(a *v1alpha1.ConnectedApp) {
		a.Spec.GrantTypes = []v1alpha1.GrantType{oauth.GrantJWTBearer}
		a.Spec.PublicKeys = []v1alpha1.PublicKey{{PEM: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}}
		a.Spec.Scopes = []v1alpha1.ScopeAssignment{{Scope: "profile"}}
		a.Spec.IdentityProviders = []v1alpha1.Identifier{tokenservertest.ProviderID}
	})
	w.condition(app, v1alpha1.ConditionReady, v1alpha1.ReasonNotAllowed)
	require.Contains(t, testenv.Condition(app.Status.Conditions, v1alpha1.ConditionReady).Message,
		"identity provider "+tokenservertest.ProviderID+" (rule all allows none)")
	require.Empty(t, w.clients(), "a power that no rule gives is not tried")

	w.update(w.server, func() { w.server.Spec.Access[0].IdentityProviders = []v1alpha1.Identifier{tokenservertest.ProviderID} })
	w.ready(app)
	exchange := func() int {
		assertion, err := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
			"iss": app.Status.ClientID, "aud": w.instance.URL + oauth.PathToken, "exp": time.Now().Add(5 * time.Minute).Unix(),
			"sub": "v2|" + tokenservertest.ProviderID + "|jsmith|john|smith|jsmith@example.com|[community]",
		}).SignedString(key)
		require.NoError(t, err)
		body, err := json.Marshal(map[string]string{"grant_type": oauth.GrantJWTBearer, "assertion": assertion})
		require.NoError(t, err)
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.instance.URL+oauth.PathToken, bytes.NewReader(body))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response.StatusCode
	}
	require.Equal(t, http.StatusOK, exchange())

	w.update(w.server, func() { w.server.Spec.Access[0].IdentityProviders = nil })
	testenv.Eventually(t, func(c *require.Assertions) { c.Empty(w.registered(app).IdentityProviders) })
	require.NotEqual(t, http.StatusOK, exchange(), "what a rule no longer gives has left the server")
}

// What gives power is off unless the spec says otherwise; what does not is the
// server's own when the spec is silent.
func TestMembersThatTheSpecLeavesOut(t *testing.T) {
	w := start(t)
	app := w.ready(w.app(func(a *v1alpha1.ConnectedApp) {
		a.Spec.GrantTypes = []v1alpha1.GrantType{"authorization_code", "refresh_token"}
		a.Spec.RedirectURIs = []v1alpha1.RedirectURI{"https://app.example.com/cb"}
		a.Spec.Scopes = []v1alpha1.ScopeAssignment{{Scope: "openid"}}
		a.Spec.IDTokenSigningAlg = "ES256"
	}))
	w.tamper(app, func(a *storage.App) {
		a.PostLogoutRedirectURIs, a.IdentityProviders = []string{"https://evil.example/"}, []string{tokenservertest.ProviderID}
		a.SkipUserConsent, a.AssertionsWithoutExpiry = true, true
		a.AccessTokenFormat, a.IDTokenAlg, a.TokenEndpointAuthMethod = "opaque", "RS256", oauth.AuthMethodSecretBasic
	})
	w.condition(app, v1alpha1.ConditionDrifted, v1alpha1.ReasonDriftRepaired)
	require.Equal(t, "undone: postLogoutRedirectURIs: [https://evil.example/], should be []; "+
		"identityProviders: ["+tokenservertest.ProviderID+"], should be []; assertionsWithoutExpiry: true, should be false; "+
		"skipUserConsent: true, should be false; idTokenSigningAlg: RS256, should be ES256",
		testenv.Condition(app.Status.Conditions, v1alpha1.ConditionDrifted).Message)
	registered := w.registered(app)
	require.Empty(t, registered.PostLogoutRedirectURIs)
	require.Empty(t, registered.IdentityProviders)
	require.False(t, registered.SkipUserConsent || registered.AssertionsWithoutExpiry)
	require.Equal(t, "ES256", registered.IDTokenAlg)
	require.Equal(t, "opaque", registered.AccessTokenFormat)
	require.Equal(t, oauth.AuthMethodSecretBasic, registered.TokenEndpointAuthMethod)
}
