// SPDX-License-Identifier: Apache-2.0

package workload_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
	"connectedapps.dev/operator/internal/tokenserver/workload"
)

// prod and staging have one issuer, as clusters that were set up alike do.
const alike = "https://kubernetes.default.svc.cluster.local"

// trusting is a server that trusts two clusters by their JWK Sets.
type trusting struct {
	*world
	prod, staging *cluster
	identity      oauth.FederatedIdentity
}

func newTrusting(t testing.TB, options ...tokenservertest.Option) *trusting {
	t.Helper()
	c := &clock{}
	w := &trusting{prod: newCluster(t, alike, c.Now), staging: newCluster(t, alike, c.Now)}
	w.staging.key = otherKey(t)
	w.identity = oauth.FederatedIdentity{IssuerName: "prod", Subject: gitproxy}
	issuers := []workload.Issuer{
		{Name: "prod", URL: alike, Audience: audience, Source: keyFile(t, w.prod.file())},
		{Name: "staging", URL: alike, Audience: "staging", Source: keyFile(t, w.staging.file())},
	}
	w.world = newWorld(t, c, issuers, options...)
	return w
}

func keyFile(t testing.TB, path string) *workload.KeyFile {
	t.Helper()
	file, err := workload.NewKeyFile(path)
	require.NoError(t, err)
	return file
}

func otherKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	return key
}

func TestTheTokenOfAWorkloadAuthenticatesItsAppUntilItExpires(t *testing.T) {
	t.Parallel()
	w := newTrusting(t)
	app := w.app("", w.identity)
	require.Empty(t, app.ClientSecret)
	token := w.prod.token(nil)
	for range 3 {
		got := w.login(app.ClientID, token)
		require.Equal(t, http.StatusOK, got.status, got)
		require.NotEmpty(t, got.AccessToken)
		require.Contains(t, w.log.String(), `"workload":"prod `+gitproxy+`"`, "who it was")
		w.clock.advance(19 * time.Minute)
	}
	require.Equal(t, http.StatusOK, w.login(app.ClientID, w.prod.token(jwt.MapClaims{"aud": audience})).status, "aud as one text")
	w.clock.advance(5 * time.Minute)
	got := w.login(app.ClientID, token)
	require.Equal(t, http.StatusUnauthorized, got.status)
	require.Equal(t, "the client assertion is not accepted: it has expired", got.ErrorDescription)
	require.NotContains(t, w.log.String(), token)
}

func TestAWorkloadAuthenticatesWhereverClientsDo(t *testing.T) {
	t.Parallel()
	w := newTrusting(t)
	app, token := w.app("", w.identity), w.prod.token(nil)
	access := w.login(app.ClientID, token).AccessToken
	credentials := []string{"client_id", app.ClientID, "client_assertion_type", oauth.AssertionTypeJWTBearer, "client_assertion", token, "token", access}
	got := w.post(oauth.PathIntrospect, credentials...)
	require.Equal(t, http.StatusOK, got.status, got)
	require.True(t, got.Active)
	require.Equal(t, http.StatusOK, w.post(oauth.PathRevoke, credentials...).status)
	require.False(t, w.post(oauth.PathIntrospect, credentials...).Active)

	wrong := append([]string{}, credentials...)
	wrong[5] = w.prod.token(jwt.MapClaims{"sub": "system:serviceaccount:other:gitproxy"})
	for _, path := range []string{oauth.PathIntrospect, oauth.PathRevoke} {
		require.Equal(t, http.StatusUnauthorized, w.post(path, wrong...).status, path)
	}
}

// TestAWorkloadManagesApps is how a manager logs in that has no secret.
func TestAWorkloadManagesApps(t *testing.T) {
	t.Parallel()
	w := newTrusting(t)
	app := w.app("", w.identity)
	_, err := w.i.Store.UpdateApp(t.Context(), app.ClientID, w.clock.Now(), func(a *storage.App) error {
		a.ContextScopes = []storage.ContextScope{{Scope: oauth.ScopeManageConnApps, Org: w.i.OrgID}}
		return nil
	})
	require.NoError(t, err)
	require.NoError(t, w.i.Server.Load(t.Context()))
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.i.URL+oauth.PathConnectedApps,
		strings.NewReader(`{"client_name":"made without a secret","grant_types":["client_credentials"]}`))
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+w.login(app.ClientID, w.prod.token(nil)).AccessToken)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	status, text := read(t, response)
	require.Equal(t, http.StatusCreated, status, text)
}

// TestDiscoveryTellsOfFederatedIdentities where some issuer is trusted.
func TestDiscoveryTellsOfFederatedIdentities(t *testing.T) {
	t.Parallel()
	for want, w := range map[bool]*world{true: newTrusting(t).world, false: newWorld(t, &clock{}, nil)} {
		response, err := http.Get(w.i.URL + oauth.PathDiscovery)
		require.NoError(t, err)
		_, text := read(t, response)
		var metadata oauth.Metadata
		require.NoError(t, json.Unmarshal([]byte(text), &metadata))
		if want {
			require.Contains(t, metadata.Extensions, "federated_identities")
		} else {
			require.NotContains(t, metadata.Extensions, "federated_identities")
		}
	}
}

// refusal is what an attack meets: an answer that says no more than its caller may
// know, and a log that says why.
type refusal struct {
	token    string
	told     string
	logged   string
	clientID string // "-": none
}

const notAccepted = "the client assertion is not accepted"

func TestTokensOfWorkloadsThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newTrusting(t)
	app := w.app("", w.identity)
	theirs := w.app("", oauth.FederatedIdentity{IssuerName: "prod", Subject: "system:serviceaccount:other:app"})
	stagings := w.app("", oauth.FederatedIdentity{IssuerName: "staging", Subject: gitproxy})
	public := w.public()
	now := w.clock.Now()
	none := "which is none of the federated_identities of the app"
	stranger := newCluster(t, alike, w.clock.Now)
	stranger.key = otherKey(t)
	sub := func(subject string) string { return w.prod.token(jwt.MapClaims{"sub": subject}) }
	at := func(iat, nbf, exp time.Duration) string {
		return w.prod.token(jwt.MapClaims{"iat": now.Add(iat).Unix(), "nbf": now.Add(nbf).Unix(), "exp": now.Add(exp).Unix()})
	}
	for name, row := range map[string]refusal{
		"of another cluster, same namespace and name": {w.staging.token(nil), notAccepted, "workload issuer prod: the signature is not one of its keys", ""},
		"of another trusted cluster": {w.staging.token(jwt.MapClaims{"aud": "staging"}),
			notAccepted + ": it is of " + gitproxy + " of the issuer staging, " + none, none, ""},
		"for another trusted cluster":         {w.prod.token(jwt.MapClaims{"aud": "staging"}), notAccepted, "workload issuer staging: the signature is not one of its keys", stagings.ClientID},
		"of a cluster that is not here":       {stranger.token(nil), notAccepted, "not one of its keys", ""},
		"of an issuer that is not here":       {w.prod.token(jwt.MapClaims{"iss": "https://elsewhere.example"}), notAccepted, "iss is no app", ""},
		"of the issuer with a slash":          {w.prod.token(jwt.MapClaims{"iss": alike + "/"}), notAccepted, "iss is no app", ""},
		"of no issuer":                        {w.prod.token(jwt.MapClaims{"iss": nil}), notAccepted, "names no iss", ""},
		"of another namespace":                {sub("system:serviceaccount:other:gitproxy"), notAccepted + ": it is of system:serviceaccount:other:gitproxy of the issuer prod, " + none, none, ""},
		"of another name":                     {sub("system:serviceaccount:payments:gitproxy2"), notAccepted + ": it is of system:serviceaccount:payments:gitproxy2 of the issuer prod, " + none, none, ""},
		"of default":                          {sub("system:serviceaccount:payments:default"), notAccepted + ": it is of system:serviceaccount:payments:default of the issuer prod, " + none, none, ""},
		"of nobody":                           {sub(""), notAccepted + ": it is of  of the issuer prod, " + none, none, ""},
		"of somebody in another case":         {sub("system:serviceaccount:payments:GitProxy"), notAccepted + ": it is of system:serviceaccount:payments:GitProxy of the issuer prod, " + none, none, ""},
		"for somebody else":                   {w.prod.token(jwt.MapClaims{"aud": "https://vault.example"}), notAccepted + ": aud must be " + audience, "aud must be " + audience, ""},
		"for the API server":                  {w.prod.token(jwt.MapClaims{"aud": alike}), notAccepted + ": aud must be " + audience, "aud must be", ""},
		"for somebody else too":               {w.prod.token(jwt.MapClaims{"aud": []string{audience, "https://vault.example"}}), notAccepted + ": aud must be " + audience, "aud must be", ""},
		"for two clusters at once":            {w.prod.token(jwt.MapClaims{"aud": []string{audience, "staging"}}), notAccepted + ": aud must be " + audience, "aud must be", ""},
		"for nobody":                          {w.prod.token(jwt.MapClaims{"aud": nil}), notAccepted + ": aud is missing: it must be " + audience, "aud is missing", ""},
		"for somebody else, forged":           {stranger.token(jwt.MapClaims{"aud": "https://vault.example"}), notAccepted, "not one of its keys", ""},
		"expired":                             {at(-time.Hour, -time.Hour, -2*time.Minute), notAccepted + ": it has expired", "expired", ""},
		"not valid yet":                       {at(0, 5*time.Minute, 30*time.Minute), notAccepted + ": it is not valid yet (nbf)", "nbf", ""},
		"issued in the future":                {at(5*time.Minute, 0, 30*time.Minute), notAccepted + ": it was issued in the future (iat)", "iat", ""},
		"of a long life":                      {at(0, 0, 2*time.Hour), notAccepted + ": it is valid for longer than 1h0m0s (exp)", "longer", ""},
		"of a long life, nearly over":         {at(-23*time.Hour, 0, time.Minute), notAccepted + ": it was issued to be valid for longer than 1h0m0s (exp, iat)", "longer", ""},
		"that never expires":                  {w.prod.token(jwt.MapClaims{"exp": nil}), notAccepted + ": exp is missing", "exp is missing", ""},
		"of an unknown life":                  {w.prod.token(jwt.MapClaims{"iat": nil}), notAccepted + ": iat is missing", "iat is missing", ""},
		"unsigned":                            {unsigned(w.prod), notAccepted, "no key of the kid and alg", ""},
		"signed with the public key":          {confused(t, w.prod), notAccepted, "no key of the kid and alg", ""},
		"of another algorithm than the key's": {w.prod.token(nil, map[string]any{"alg": "RS512"}), notAccepted, "no key of the kid and alg", ""},
		"signed with an unknown key":          {w.prod.token(nil, map[string]any{"kid": "second"}), notAccepted, "no key of the kid and alg", ""},
		"with an extension":                   {w.prod.token(nil, map[string]any{"crit": []string{"b64"}}), notAccepted, "crit is not understood", ""},
		"with a claim twice":                  {twice(w.prod), notAccepted, "payload is refused", ""},
		"with another signature":              {w.prod.token(nil)[:400] + w.prod.token(nil)[400:], notAccepted, "not one of its keys", ""},
		"that is no JWT":                      {"x", notAccepted, "not a signed JWT", ""},
		"without a client_id":                 {w.prod.token(nil), "client_id is missing: the token of a workload does not say which app it is for", "", "-"},
		"for the app of somebody else":        {w.prod.token(nil), notAccepted + ": it is of " + gitproxy + " of the issuer prod, " + none, none, theirs.ClientID},
		"for an app that does not exist":      {w.prod.token(nil), notAccepted + ": it is of " + gitproxy + " of the issuer prod, " + none, none, "nobody"},
		"for an app without identities":       {w.prod.token(nil), notAccepted + ": it is of " + gitproxy + " of the issuer prod, " + none, none, w.i.AdminClientID},
		"for a public app":                    {w.prod.token(nil), notAccepted + ": it is of " + gitproxy + " of the issuer prod, " + none, none, public},
	} {
		if row.clientID == "" {
			row.clientID = app.ClientID
		}
		t.Run(name, func(t *testing.T) {
			got := w.login(strings.TrimSuffix(row.clientID, "-"), row.token)
			assert.Equal(t, http.StatusUnauthorized, got.status)
			assert.Equal(t, oauth.CodeInvalidClient, got.Error)
			assert.Equal(t, row.told, got.ErrorDescription)
			assert.Contains(t, w.log.cause(t), row.logged)
			assert.Empty(t, got.AccessToken)
		})
	}
	require.Equal(t, http.StatusOK, w.login(app.ClientID, w.prod.token(nil)).status, "none of it hurt")
}

// public is an app without authentication that once had an identity.
func (w *trusting) public() string {
	w.t.Helper()
	status, text := w.manage(http.MethodPost, "", `{"client_name":"p","grant_types":["authorization_code"],"token_endpoint_auth_method":"none"}`)
	require.Equal(w.t, http.StatusCreated, status, text)
	var app oauth.ConnectedApp
	require.NoError(w.t, json.Unmarshal([]byte(text), &app))
	_, err := w.i.Store.UpdateApp(w.t.Context(), app.ClientID, w.clock.Now(), func(a *storage.App) error {
		a.FederatedIdentities = []storage.FederatedIdentity{storage.FederatedIdentity(w.identity)}
		return nil
	})
	require.NoError(w.t, err)
	require.NoError(w.t, w.i.Server.Load(w.t.Context()))
	return app.ClientID
}

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func unsigned(c *cluster) string {
	payload := strings.Split(c.token(nil), ".")[1]
	return encode(`{"alg":"none"}`) + "." + payload + "."
}

// confused takes the public key for the secret of an HMAC.
func confused(t testing.TB, c *cluster) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, c.claims())
	token.Header["kid"] = c.kid
	raw, err := token.SignedString([]byte(publicPEM(t, c.key)))
	require.NoError(t, err)
	return raw
}

func publicPEM(t testing.TB, key *rsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// twice signs a payload with two sub.
func twice(c *cluster) string {
	claims, err := json.Marshal(c.claims())
	require.NoError(c.t, err)
	text := encode(`{"alg":"RS256","kid":"first"}`) + "." + encode(strings.Replace(string(claims), "{", `{"sub":"system:serviceaccount:other:app",`, 1))
	signature, err := jwt.SigningMethodRS256.Sign(text, c.key)
	require.NoError(c.t, err)
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// TestALongerLifeIsForTheConfigurationToAllow.
func TestALongerLifeIsForTheConfigurationToAllow(t *testing.T) {
	t.Parallel()
	c := &clock{}
	prod := newCluster(t, alike, c.Now)
	w := newWorld(t, c, []workload.Issuer{{Name: "prod", URL: alike, Audience: audience, Life: 3 * time.Hour, Source: keyFile(t, prod.file())}})
	app := w.app("", oauth.FederatedIdentity{IssuerName: "prod", Subject: gitproxy})
	for life, want := range map[time.Duration]int{3 * time.Hour: http.StatusOK, 3*time.Hour + 2*time.Minute: http.StatusUnauthorized} {
		got := w.login(app.ClientID, prod.token(jwt.MapClaims{"exp": c.Now().Add(life).Unix()}))
		require.Equal(t, want, got.status, "%s: %v", life, got)
	}
}

// TestAnAppMayHaveASecretBesideItsIdentities while its workloads change over.
func TestAnAppMayHaveASecretBesideItsIdentities(t *testing.T) {
	t.Parallel()
	w := newTrusting(t)
	app := w.app(`,"token_endpoint_auth_method":"client_secret_post"`, w.identity)
	bySecret := func(more ...string) answer {
		return w.post(oauth.PathToken, append([]string{"grant_type", oauth.GrantClientCredentials, "client_id", app.ClientID, "client_secret", app.ClientSecret}, more...)...)
	}
	require.Equal(t, http.StatusOK, bySecret().status)
	require.Equal(t, http.StatusOK, w.login(app.ClientID, w.prod.token(nil)).status)
	got := bySecret("client_assertion_type", oauth.AssertionTypeJWTBearer, "client_assertion", w.prod.token(nil))
	require.Equal(t, http.StatusBadRequest, got.status, "two ways at once")

	status, text := w.manage(http.MethodPatch, "/"+app.ClientID, `{"token_endpoint_auth_method":"private_key_jwt"}`)
	require.Equal(t, http.StatusOK, status, text)
	require.Equal(t, http.StatusUnauthorized, bySecret().status)
	require.Equal(t, http.StatusOK, w.login(app.ClientID, w.prod.token(nil)).status)
	status, text = w.manage(http.MethodPatch, "/"+app.ClientID, `{"federated_identities":[]}`)
	require.Equal(t, http.StatusOK, status, text)
	require.Equal(t, http.StatusUnauthorized, w.login(app.ClientID, w.prod.token(nil)).status)
}

// TestNeitherKindOfAssertionIsTakenForTheOther: an app with every way to assert.
func TestNeitherKindOfAssertionIsTakenForTheOther(t *testing.T) {
	t.Parallel()
	w := newTrusting(t)
	key := otherKey(t)
	status, text := w.manage(http.MethodPost, "", `{"client_name":"v","grant_types":["`+oauth.GrantJWTBearer+`"],"token_endpoint_auth_method":"private_key_jwt",
		"identity_providers":["`+tokenservertest.ProviderID+`"],"scopes":["profile"],"federated_identities":[{"issuer_name":"prod","subject":"`+gitproxy+`"}],
		"public_keys":[`+strconv.Quote(publicPEM(t, key))+`]}`)
	require.Equal(t, http.StatusCreated, status, text)
	var app oauth.ConnectedApp
	require.NoError(t, json.Unmarshal([]byte(text), &app))
	own := func(change jwt.MapClaims) string {
		c := &cluster{t: t, issuer: app.ClientID, key: key, now: w.clock.Now}
		claims := jwt.MapClaims{"aud": w.i.URL + oauth.IssuerPath, "sub": "v2|" + tokenservertest.ProviderID + "|jane", "kubernetes.io": nil}
		for name, value := range change {
			claims[name] = value
		}
		return c.token(claims)
	}
	ask := func(assertion, clientAssertion string) answer {
		kind := oauth.AssertionTypeJWTBearer
		if clientAssertion == "" {
			kind = ""
		}
		return w.post(oauth.PathToken, "grant_type", oauth.GrantJWTBearer, "client_id", app.ClientID, "assertion", assertion,
			"client_assertion", clientAssertion, "client_assertion_type", kind)
	}
	grant, client := own(nil), own(jwt.MapClaims{"sub": app.ClientID, "jti": uuid.NewString()})
	require.Equal(t, http.StatusOK, ask(grant, "").status)
	require.Equal(t, http.StatusOK, ask(own(nil), client).status)
	require.Equal(t, http.StatusOK, ask(own(nil), w.prod.token(nil)).status)

	for name, row := range map[string]struct {
		assertion, clientAssertion, code string
	}{
		"a workload's token as grant":                   {w.prod.token(nil), "", oauth.CodeInvalidGrant},
		"a workload's token as both":                    {w.prod.token(nil), w.prod.token(nil), oauth.CodeInvalidGrant},
		"a grant assertion as client assertion":         {own(nil), own(nil), oauth.CodeInvalidClient},
		"a client assertion as grant":                   {own(jwt.MapClaims{"sub": app.ClientID}), "", oauth.CodeInvalidGrant},
		"a client's own assertion in a workload's name": {own(nil), own(jwt.MapClaims{"iss": alike, "sub": gitproxy, "aud": audience}), oauth.CodeInvalidClient},
		"a workload's token in the client's name":       {own(nil), w.prod.token(jwt.MapClaims{"iss": app.ClientID, "sub": app.ClientID}), oauth.CodeInvalidClient},
	} {
		got := ask(row.assertion, row.clientAssertion)
		assert.Equal(t, row.code, got.Error, "%s: %v", name, got)
		assert.Empty(t, got.AccessToken, name)
	}
}

// TestAWorkloadOfAnAppThatMayDoNothingIsRefused as any other client of it.
func TestAWorkloadOfAnAppThatMayDoNothingIsRefused(t *testing.T) {
	t.Parallel()
	w := newTrusting(t)
	app := w.app("", w.identity)
	require.Equal(t, http.StatusOK, w.login(app.ClientID, w.prod.token(nil)).status)
	status, text := w.manage(http.MethodPatch, "/"+app.ClientID, `{"enabled":false}`)
	require.Equal(t, http.StatusOK, status, text)
	got := w.login(app.ClientID, w.prod.token(nil))
	require.Equal(t, http.StatusUnauthorized, got.status)
	require.Equal(t, "the client is disabled", got.ErrorDescription)
	status, text = w.manage(http.MethodPatch, "/"+app.ClientID, `{"enabled":true}`)
	require.Equal(t, http.StatusOK, status, text)
	require.Equal(t, http.StatusOK, w.login(app.ClientID, w.prod.token(nil)).status)

	full := w.i.Directory.Load()
	require.NoError(t, w.i.Server.TakeDirectory(t.Context(), directory.New([]directory.Organization{*full.Organizations()[1]}, nil)))
	require.Equal(t, http.StatusUnauthorized, w.login(app.ClientID, w.prod.token(nil)).status)
	require.Contains(t, w.log.cause(t), "organization is not in the configuration")
	require.NoError(t, w.i.Server.TakeDirectory(t.Context(), full))

	status, text = w.manage(http.MethodDelete, "/"+app.ClientID, "")
	require.Equal(t, http.StatusNoContent, status, text)
	require.Equal(t, http.StatusUnauthorized, w.login(app.ClientID, w.prod.token(nil)).status)
}

// TestAWorkloadLogsInWhileTheDatabaseIsAway, from memory as with a secret, and is
// not refused for good by a server that cannot know better.
func TestAWorkloadLogsInWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	faults := tokenservertest.NewFaults()
	w := newTrusting(t, tokenservertest.WithStorage(faults.Wrap))
	app := w.app("", w.identity)
	other := w.prod.token(jwt.MapClaims{"sub": "system:serviceaccount:payments:new"})
	faults.Break(tokenservertest.Refused, "Changes")
	w.clock.advance(2 * time.Second)
	require.Equal(t, http.StatusOK, w.login(app.ClientID, w.prod.token(nil)).status)
	got := w.login(app.ClientID, other)
	require.Equal(t, http.StatusServiceUnavailable, got.status, "it may have been added a moment ago")
	require.NotEmpty(t, got.retryAfter)
}
