// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// asserting is a server with an app that vouches for users.
type asserting struct {
	*personWorld
	key *rsa.PrivateKey
}

func pemOf(t *testing.T, public any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func newAsserting(t *testing.T, members map[string]any, options ...tokenservertest.Option) *asserting {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	app := map[string]any{
		"client_name": "assert", "grant_types": []string{oauth.GrantJWTBearer}, "public_keys": []string{pemOf(t, key.Public())},
		"redirect_uris": []string{"https://example.com/"}, "scopes": []string{"profile", "offline_access", "openid", "email"}, "audience": "internal",
		"identity_providers": []string{tokenservertest.ProviderID},
	}
	maps.Copy(app, members)
	body, err := json.Marshal(app)
	require.NoError(t, err)
	return &asserting{personWorld: newPersonWorld(t, string(body), options...), key: key}
}

// claims are those of a good assertion.
func (a *asserting) claims() jwt.MapClaims {
	return jwt.MapClaims{
		"iss": a.app.ClientID, "aud": a.i.URL + oauth.PathToken, "exp": a.clock.Now().Add(5 * time.Minute).Unix(),
		"sub": "v2|" + tokenservertest.ProviderID + "|jsmith|john|smith|jsmith@gmail.com|[community]",
	}
}

func (a *asserting) sign(claims jwt.MapClaims) string {
	a.t.Helper()
	raw, err := jwt.NewWithClaims(jwt.SigningMethodRS256, claims).SignedString(a.key)
	require.NoError(a.t, err)
	return raw
}

// exchange sends the assertion as the vendor's example does: JSON, and no client
// authentication.
func (a *asserting) exchange(assertion string, more ...string) (int, oauth.TokenResponse, oauth.ErrorResponse) {
	a.t.Helper()
	body := map[string]string{"grant_type": oauth.GrantJWTBearer, "assertion": assertion}
	for i := 0; i < len(more); i += 2 {
		body[more[i]] = more[i+1]
	}
	text, err := json.Marshal(body)
	require.NoError(a.t, err)
	response, answer := post(a.t, a.i.URL+oauth.PathToken, "application/json", string(text), nil)
	var tokens oauth.TokenResponse
	var failure oauth.ErrorResponse
	require.NoError(a.t, json.Unmarshal([]byte(answer), &tokens))
	require.NoError(a.t, json.Unmarshal([]byte(answer), &failure))
	return response.StatusCode, tokens, failure
}

func (a *asserting) patch(body string) {
	a.t.Helper()
	request, err := http.NewRequestWithContext(a.t.Context(), http.MethodPatch, a.i.URL+oauth.PathConnectedApps+"/"+a.app.ClientID, strings.NewReader(body))
	require.NoError(a.t, err)
	response, err := adminClient(a.t, a.i).Do(request)
	require.NoError(a.t, err)
	_ = response.Body.Close()
	require.Equal(a.t, http.StatusOK, response.StatusCode)
}

func TestAnAssertionBecomesATokenForItsUser(t *testing.T) {
	a := newAsserting(t, nil)
	status, tokens, failure := a.exchange(a.sign(a.claims()))
	require.Equal(t, http.StatusOK, status, failure)
	require.Equal(t, "bearer", tokens.TokenType)
	require.EqualValues(t, 3600, tokens.ExpiresIn)
	require.Empty(t, tokens.RefreshToken, "offline_access needs a user who was asked")
	require.Equal(t, "profile openid email", tokens.Scope)
	require.NotEmpty(t, tokens.IDToken)

	_, info := a.userInfo(tokens.AccessToken)
	require.Equal(t, "jsmith", info["preferred_username"])
	require.Equal(t, "jsmith@gmail.com", info["email"])
	require.Equal(t, false, info["email_verified"], "an asserted address is not a verified one")
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.i.URL+oauth.PathMe, nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+tokens.AccessToken)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	var me oauth.Me
	require.NoError(t, json.NewDecoder(response.Body).Decode(&me))
	require.Equal(t, "jsmith", me.User.Username)
	require.True(t, me.User.IsFederated)

	t.Run("the same user whatever the case and the number of parts", func(t *testing.T) {
		claims := a.claims()
		claims["sub"] = "v2|" + tokenservertest.ProviderID + "|JSmith"
		_, again, _ := a.exchange(a.sign(claims))
		_, same := a.userInfo(again.AccessToken)
		require.Equal(t, info["sub"], same["sub"])
		require.Equal(t, "jsmith", same["preferred_username"])
		require.Equal(t, info["email"], same["email"], "what three parts do not say stays")
	})
	t.Run("an address does not make the same user", func(t *testing.T) {
		claims := a.claims()
		claims["sub"] = "v2|" + tokenservertest.ProviderID + "|mallory|john|smith|jsmith@gmail.com|[]"
		_, other, _ := a.exchange(a.sign(claims))
		_, different := a.userInfo(other.AccessToken)
		require.NotEqual(t, info["sub"], different["sub"])
	})
	t.Run("scopes can be narrowed and not widened", func(t *testing.T) {
		_, narrow, _ := a.exchange(a.sign(a.claims()), "scope", "profile")
		require.Equal(t, "profile", narrow.Scope)
		require.Empty(t, narrow.IDToken)
		status, _, refused := a.exchange(a.sign(a.claims()), "scope", "full")
		require.Equal(t, http.StatusBadRequest, status)
		require.Equal(t, "invalid_scope", refused.Error)
	})
	t.Run("the client is named beside the assertion", func(t *testing.T) {
		status, _, failure := a.exchange(a.sign(a.claims()), "client_id", a.app.ClientID)
		require.Equal(t, http.StatusOK, status, failure)
		status, _, failure = a.exchange(a.sign(a.claims()), "client_id", a.app.ClientID, "client_secret", "wrong")
		require.Equal(t, http.StatusUnauthorized, status, failure)
	})
	t.Run("the issuer is an audience too, and so is a form body with client authentication", func(t *testing.T) {
		claims := a.claims()
		claims["aud"] = []string{a.i.URL + oauth.IssuerPath}
		status, _, failure, _ := a.request("grant_type", oauth.GrantJWTBearer, "assertion", a.sign(claims))
		require.Equal(t, http.StatusOK, status, failure)
	})
}

func TestAssertionsThatAreRefused(t *testing.T) {
	a := newAsserting(t, nil)
	other := register(t, a.i, webApp)
	now := a.clock.Now()
	change := func(name string, value any) jwt.MapClaims {
		claims := a.claims()
		claims[name] = value
		if value == nil {
			delete(claims, name)
		}
		return claims
	}
	sub := func(s string) string { return a.sign(change("sub", s)) }
	provider := tokenservertest.ProviderID
	secret, err := jwt.NewWithClaims(jwt.SigningMethodHS256, a.claims()).SignedString([]byte(a.app.ClientSecret))
	require.NoError(t, err)
	confused, err := jwt.NewWithClaims(jwt.SigningMethodHS256, a.claims()).SignedString([]byte(pemOf(t, a.key.Public())))
	require.NoError(t, err)
	unsigned, err := jwt.NewWithClaims(jwt.SigningMethodNone, a.claims()).SignedString(jwt.UnsafeAllowNoneSignatureType)
	require.NoError(t, err)
	foreignKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	foreign, err := jwt.NewWithClaims(jwt.SigningMethodES256, a.claims()).SignedString(foreignKey)
	require.NoError(t, err)
	critical := jwt.NewWithClaims(jwt.SigningMethodRS256, a.claims())
	critical.Header["crit"] = []string{"exp"}
	withCrit, err := critical.SignedString(a.key)
	require.NoError(t, err)

	for name, test := range map[string]struct{ assertion, reason string }{
		"no JWT":                          {"x", "it is not a signed JWT"},
		"an unknown app":                  {a.sign(change("iss", "nobody")), "iss is no app"},
		"no iss":                          {a.sign(change("iss", nil)), "it names no iss"},
		"signed with the client secret":   {secret, "its signature fits none of the app's public keys"},
		"the public key as HMAC secret":   {confused, "its signature fits none of the app's public keys"},
		"unsigned":                        {unsigned, "its signature fits none of the app's public keys"},
		"another key":                     {foreign, "its signature fits none of the app's public keys"},
		"an extension nobody understands": {withCrit, "crit is not understood"},
		"a claim given twice":             {a.signPayload(`{"iss":"` + a.app.ClientID + `","sub":"v2|` + provider + `|x","sub":"v2|` + provider + `|y"}`), "its payload is refused: sub: appears twice at line 1, column 93"},
		"too long":                        {a.sign(change("pad", strings.Repeat("x", 17<<10))), "it is not a signed JWT"},
		"another audience":                {a.sign(change("aud", "https://elsewhere.example")), "aud must be " + a.i.URL + oauth.PathToken + " or " + a.i.URL + oauth.IssuerPath},
		"one audience too many":           {a.sign(change("aud", []string{a.i.URL + oauth.PathToken, "https://elsewhere.example"})), "aud must be " + a.i.URL + oauth.PathToken + " or " + a.i.URL + oauth.IssuerPath},
		"no audience":                     {a.sign(change("aud", nil)), "aud is missing: it must be " + a.i.URL + oauth.PathToken + " or " + a.i.URL + oauth.IssuerPath},
		"expired":                         {a.sign(change("exp", now.Add(-2*time.Minute).Unix())), "it has expired"},
		"no exp":                          {a.sign(change("exp", nil)), "exp is missing"},
		"valid for too long":              {a.sign(change("exp", now.Add(2*time.Hour).Unix())), "it is valid for longer than 1h0m0s (exp)"},
		"made to live for a year":         {a.sign(jwt.MapClaims{"iss": a.app.ClientID, "aud": a.i.URL + oauth.PathToken, "sub": "v2|" + provider + "|x", "iat": now.Add(-365 * 24 * time.Hour).Unix(), "exp": now.Add(30 * time.Minute).Unix()}), "it was issued to be valid for longer than 1h0m0s (exp, iat)"},
		"a line end in jti":               {a.sign(change("jti", "a\nb")), "jti contains a control character"},
		"a line end in iss":               {a.sign(change("iss", "a\nb")), "iss contains a control character"},
		"not valid yet":                   {a.sign(change("nbf", now.Add(2*time.Minute).Unix())), "it is not valid yet (nbf)"},
		"issued in the future":            {a.sign(change("iat", now.Add(2*time.Minute).Unix())), "it was issued in the future (iat)"},
		"a subject of five parts":         {sub("v2|" + provider + "|a|b|c"), "sub has 5 parts, not 3 or 7"},
		"groups in nested brackets":       {sub("v2|" + provider + "|a|b|c|d|[[e]]"), "the groups in sub must stand in one pair of brackets"},
		"the local directory":             {sub("v2|mulesoft|olga"), "the identity provider in sub is not one that the app may speak for (identity_providers)"},
		"an unknown identity provider":    {sub("v2|elsewhere|olga"), "the identity provider in sub is not one that the app may speak for (identity_providers)"},
	} {
		t.Run(name, func(t *testing.T) {
			status, _, failure := a.exchange(test.assertion)
			require.Equal(t, http.StatusBadRequest, status)
			require.Equal(t, oauth.ErrorResponse{Error: "invalid_grant", ErrorDescription: "the assertion is not accepted: " + test.reason}, failure)
		})
	}
	t.Run("an app that does not list the grant", func(t *testing.T) {
		status, _, failure := a.exchange(a.sign(change("iss", other.ClientID)))
		require.Equal(t, http.StatusBadRequest, status)
		require.Equal(t, "unauthorized_client", failure.Error)
	})
	t.Run("no assertion", func(t *testing.T) {
		_, _, failure := a.exchange("")
		require.Equal(t, "invalid_request", failure.Error)
	})
	t.Run("the client is another than iss", func(t *testing.T) {
		second := newAssertingApp(t, a)
		claims := a.claims()
		body := url.Values{"grant_type": {oauth.GrantJWTBearer}, "assertion": {a.sign(claims)}, "client_id": {second.ClientID}, "client_secret": {second.ClientSecret}}
		response, text := post(t, a.i.URL+oauth.PathToken, formType, body.Encode(), nil)
		require.Equal(t, http.StatusBadRequest, response.StatusCode)
		require.Contains(t, text, "iss differs from the client")
	})
	t.Run("a NUL in jti is no fault of ours", func(t *testing.T) {
		status, _, failure := a.exchange(a.sign(change("jti", "a\x00b")))
		require.Equal(t, http.StatusBadRequest, status)
		require.Contains(t, failure.ErrorDescription, "its payload is refused: jti: has a NUL character")
	})
	t.Run("the client named is another than iss", func(t *testing.T) {
		second := newAssertingApp(t, a)
		status, _, failure := a.exchange(a.sign(a.claims()), "client_id", second.ClientID)
		require.Equal(t, http.StatusBadRequest, status)
		require.Equal(t, oauth.ErrorResponse{Error: "invalid_grant", ErrorDescription: "the assertion is not accepted: iss differs from client_id"}, failure)
	})
	t.Run("a grant assertion is no client authentication", func(t *testing.T) {
		body := url.Values{
			"grant_type": {oauth.GrantClientCredentials}, "client_assertion_type": {oauth.AssertionTypeJWTBearer}, "client_assertion": {a.sign(a.claims())},
		}
		response, text := post(t, a.i.URL+oauth.PathToken, formType, body.Encode(), nil)
		require.Equal(t, http.StatusUnauthorized, response.StatusCode, text)
	})
	t.Run("an app that lists no provider speaks for nobody", func(t *testing.T) {
		a.patch(`{"identity_providers":[]}`)
		_, _, failure := a.exchange(a.sign(a.claims()))
		require.Equal(t, "invalid_grant", failure.Error)
	})
	t.Run("a disabled app", func(t *testing.T) {
		a.patch(`{"identity_providers":["` + provider + `"],"enabled":false}`)
		_, _, failure := a.exchange(a.sign(a.claims()))
		require.Equal(t, "the assertion is not accepted: the app is disabled", failure.ErrorDescription)
	})
}

func newAssertingApp(t *testing.T, a *asserting) oauth.ConnectedApp {
	t.Helper()
	return register(t, a.i, `{"client_name":"second","grant_types":["`+oauth.GrantJWTBearer+`"]}`)
}

// signPayload signs a payload that no encoder would write.
func (a *asserting) signPayload(payload string) string {
	a.t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	content := encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(payload))
	signature, err := jwt.SigningMethodRS256.Sign(content, a.key)
	require.NoError(a.t, err)
	return content + "." + encode(signature)
}

func TestAnAssertionWithAnIDCountsOnce(t *testing.T) {
	a := newAsserting(t, nil)
	claims := a.claims()
	claims["jti"] = "once"
	raw := a.sign(claims)
	status, _, refused := a.exchange(raw, "scope", "full")
	require.Equal(t, http.StatusBadRequest, status, refused)
	const parallel = 10
	statuses := make([]int, parallel)
	var group sync.WaitGroup
	for i := range statuses {
		group.Go(func() { statuses[i], _, _ = a.exchange(raw) })
	}
	group.Wait()
	won := 0
	for _, status := range statuses {
		if status == http.StatusOK {
			won++
		}
	}
	require.Equal(t, 1, won, "a refused request does not use it up, and of concurrent ones one wins")
	_, _, failure := a.exchange(raw)
	require.Equal(t, "the assertion is not accepted: jti was used before", failure.ErrorDescription)
}

// TestAReplayedAssertionChangesNothing: it is refused, and leaves the user as the
// latest one made it.
func TestAReplayedAssertionChangesNothing(t *testing.T) {
	a := newAsserting(t, nil)
	claims := a.claims()
	claims["jti"] = "earlier"
	earlier := a.sign(claims)
	status, _, failure := a.exchange(earlier)
	require.Equal(t, http.StatusOK, status, failure)
	claims["jti"], claims["sub"] = "later", "v2|"+tokenservertest.ProviderID+"|jsmith|jane|smith|jane@gmail.com|[]"
	status, tokens, failure := a.exchange(a.sign(claims))
	require.Equal(t, http.StatusOK, status, failure)
	status, _, failure = a.exchange(earlier)
	require.Equal(t, http.StatusBadRequest, status)
	require.Equal(t, "the assertion is not accepted: jti was used before", failure.ErrorDescription)
	_, info := a.userInfo(tokens.AccessToken)
	stored, err := a.i.Store.User(t.Context(), info["sub"].(string))
	require.NoError(t, err)
	require.Equal(t, []string{"jane", "jane@gmail.com"}, []string{stored.FirstName, stored.Email})
}

func TestTheVendorsAssertionWithoutExpiry(t *testing.T) {
	a := newAsserting(t, map[string]any{"assertions_without_expiry": true})
	claims := a.claims()
	delete(claims, "exp")
	status, tokens, failure := a.exchange(a.sign(claims))
	require.Equal(t, http.StatusOK, status, failure)
	require.NotEmpty(t, tokens.AccessToken)
}

func TestAssertedGroupsNeedATrustedProvider(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		t.Run(fmt.Sprint(trusted), func(t *testing.T) {
			a := newAsserting(t, nil)
			dir := tokenservertest.Directory(func(o *directory.Organization, _ *directory.User) {
				if o == nil {
					return
				}
				for i := range o.IdentityProviders {
					o.IdentityProviders[i].TrustAssertedGroups = trusted
				}
			})
			a.i.Directory.Store(dir)
			status, tokens, failure := a.exchange(a.sign(a.claims()))
			require.Equal(t, http.StatusOK, status, failure)
			_, info := a.userInfo(tokens.AccessToken)
			stored, err := a.i.Store.User(t.Context(), info["sub"].(string))
			require.NoError(t, err)
			var want []string
			if trusted {
				want = []string{"community"}
			}
			require.Equal(t, want, stored.Groups)
			require.Equal(t, storage.User{
				ID: stored.ID, OrgID: a.i.OrgID, IDProviderID: tokenservertest.ProviderID, Username: "jsmith", FirstName: "john", LastName: "smith",
				Email: "jsmith@gmail.com", Groups: want, CreatedAt: stored.CreatedAt, UpdatedAt: stored.UpdatedAt,
			}, stored)
		})
	}
}

// An asserted user who shares the name of an administrator is somebody else.
func TestAdministratorsCannotBeAsserted(t *testing.T) {
	a := newAsserting(t, map[string]any{"scopes": []string{"full"}})
	claims := a.claims()
	claims["sub"] = "v2|" + tokenservertest.ProviderID + "|olga"
	_, tokens, _ := a.exchange(a.sign(claims))
	require.NotEmpty(t, tokens.AccessToken)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.i.URL+oauth.PathConnectedApps, nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+tokens.AccessToken)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	_ = response.Body.Close()
	require.Equal(t, http.StatusUnauthorized, response.StatusCode)
}

// TestARefusedClientAssertionSaysWhatWasExpected, once its signature was right.
func TestARefusedClientAssertionSaysWhatWasExpected(t *testing.T) {
	a := newAsserting(t, nil)
	second, err := json.Marshal(map[string]any{
		"client_name": "keys", "grant_types": []string{oauth.GrantClientCredentials}, "token_endpoint_auth_method": oauth.AuthMethodPrivateKeyJWT,
		"public_keys": []string{pemOf(t, a.key.Public())},
	})
	require.NoError(t, err)
	app, issuer := register(t, a.i, string(second)), a.i.URL+oauth.IssuerPath
	authenticate := func(raw string) (int, string) {
		body := url.Values{"grant_type": {oauth.GrantClientCredentials}, "client_assertion_type": {oauth.AssertionTypeJWTBearer}, "client_assertion": {raw}}
		response, text := post(t, a.i.URL+oauth.PathToken, formType, body.Encode(), nil)
		return response.StatusCode, text
	}
	claims := func(name string, value any) jwt.MapClaims {
		c := jwt.MapClaims{"iss": app.ClientID, "sub": app.ClientID, "aud": issuer, "exp": a.clock.Now().Add(time.Minute).Unix(), "jti": name}
		c[name] = value
		return c
	}
	status, text := authenticate(a.sign(claims("jti", "1")))
	require.Equal(t, http.StatusOK, status, text)
	for name, row := range map[string]struct {
		value any
		says  string
	}{
		"aud": {a.i.URL + oauth.PathToken, "not accepted: aud must be " + issuer},
		"exp": {a.clock.Now().Add(-time.Hour).Unix(), "not accepted: it has expired"},
		"iat": {a.clock.Now().Add(-24 * time.Hour).Unix(), "not accepted: it was issued to be valid for longer than 1h0m0s (exp, iat)"},
		"sub": {"somebody", "not accepted: sub differs from iss"},
		"jti": {"1", "not accepted: jti was used before"},
		"nul": {"\x00", "not accepted"},
	} {
		gotStatus, says := authenticate(a.sign(claims(name, row.value)))
		require.Equal(t, http.StatusUnauthorized, gotStatus, name)
		require.Contains(t, says, row.says)
	}
	status, text = authenticate(a.sign(claims("jti", "a\x00b")))
	require.Equal(t, http.StatusUnauthorized, status, text)
	parts := strings.Split(a.sign(claims("aud", "elsewhere")), ".")
	_, text = authenticate(parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2])))
	require.NotContains(t, text, issuer, "whoever cannot sign learns nothing")
}
