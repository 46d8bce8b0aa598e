// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// A server that does not know them must ignore them.
// https://openid.net/specs/openid-connect-core-1_0.html#ServerMTI
func TestOptionalParametersDoNoHarm(t *testing.T) {
	v := newVisitor(newPersonWorld(t, webApp))
	page := v.get(oauth.PathAuthorize + "?" + url.Values{
		"client_id": {v.app.ClientID}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid"}, "state": {"s"},
		"display": {"popup"}, "ui_locales": {"fr-CA fr en"}, "claims_locales": {"de"}, "acr_values": {"urn:mace:incommon:iap:silver"},
		"claims": {`{"userinfo":{"email":{"essential":true}}}`}, "something_new": {"x"},
	}.Encode())
	require.Equal(t, http.StatusSeeOther, page.StatusCode, page.body)
	require.Contains(t, page.Header.Get("Location"), "/accounts/sign-in")
}

func TestTheMetadataTellsWhatTheServerDoes(t *testing.T) {
	i := tokenservertest.Start(t)
	response, err := http.Get(i.URL + oauth.PathMetadata)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	var m oauth.Metadata
	require.NoError(t, json.NewDecoder(response.Body).Decode(&m))
	require.Equal(t, []string{"code"}, m.ResponseTypesSupported)
	require.Equal(t, []string{"S256"}, m.CodeChallengeMethodsSupported)
	require.True(t, m.AuthorizationResponseISSParameterSupported)
	require.Equal(t, []string{"RS256", "ES256"}, m.IDTokenSigningAlgValuesSupported)
	require.ElementsMatch(t, []string{"client_secret_post", "client_secret_basic", "private_key_jwt", "none"}, m.TokenEndpointAuthMethodsSupported)
	require.ElementsMatch(t, []string{
		oauth.GrantClientCredentials, oauth.GrantAuthorizationCode, oauth.GrantRefreshToken, oauth.GrantPassword, oauth.GrantJWTBearer,
	}, m.GrantTypesSupported)
	// Every endpoint it names is there: none answers that it does not exist.
	for _, endpoint := range []string{
		m.AuthorizationEndpoint, m.TokenEndpoint, m.UserinfoEndpoint, m.JWKSURI, m.RevocationEndpoint, m.IntrospectionEndpoint, m.EndSessionEndpoint,
	} {
		require.True(t, strings.HasPrefix(endpoint, m.Issuer), endpoint)
		answer, err := http.Get(endpoint)
		require.NoError(t, err)
		_ = answer.Body.Close()
		require.NotEqual(t, http.StatusNotFound, answer.StatusCode, endpoint)
	}
}

// partOf reads a JWT's header or payload, which other tests verify.
func partOf(t *testing.T, raw string, index int) map[string]any {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[index])
	require.NoError(t, err)
	var members map[string]any
	require.NoError(t, json.Unmarshal(text, &members))
	return members
}

func TestAnAccessTokenHasItsOwnType(t *testing.T) {
	w := newPersonWorld(t, webApp)
	_, tokens, _ := w.redeem(w.code(nil))
	header, claims := partOf(t, tokens.AccessToken, 0), partOf(t, tokens.AccessToken, 1)
	require.Equal(t, "at+jwt", header["typ"])
	require.Equal(t, "ES256", header["alg"])
	require.Equal(t, w.i.URL+oauth.IssuerPath, claims["aud"])
	for _, name := range []string{"iss", "exp", "sub", "client_id", "iat", "jti", "auth_time", "grant_id"} {
		require.NotEmpty(t, claims[name], name)
	}
	require.NotEqual(t, "at+jwt", partOf(t, tokens.IDToken, 0)["typ"], "an id token is no access token")
	status, _ := w.userInfo(tokens.IDToken)
	require.Equal(t, http.StatusUnauthorized, status)
}

func TestARefreshedIDTokenIsOfTheSameSignIn(t *testing.T) {
	w := newPersonWorld(t, webApp)
	_, tokens, _ := w.redeem(w.code(nil))
	w.clock.advance(time.Hour)
	_, refreshed, failure := w.refresh(tokens.RefreshToken)
	require.Empty(t, failure.Error)
	before, after := partOf(t, tokens.IDToken, 1), partOf(t, refreshed.IDToken, 1)
	for _, name := range []string{"iss", "sub", "aud", "azp", "auth_time"} {
		require.Equal(t, before[name], after[name], name)
	}
	require.Greater(t, after["iat"], before["iat"])
}

func TestNobodyLearnsWhoHasAnAccount(t *testing.T) {
	w := newPersonWorld(t, webApp)
	answerTo := func(username, password string) oauth.ErrorResponse {
		_, _, failure, _ := w.request("grant_type", "password", "username", username, "password", password)
		return failure
	}
	unknown := answerTo("nobody", "wrong password")
	require.Equal(t, "invalid_grant", unknown.Error)
	require.Equal(t, unknown, answerTo("ulf", "wrong password"))
	require.Equal(t, unknown, answerTo("otto", tokenservertest.Password), "a user of another organization, by the right password")
}
