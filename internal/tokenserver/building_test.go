// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
	"connectedapps.dev/operator/internal/tokenserver/workload"
)

// building is a server with an app of every kind, whose storage fails at will.
type building struct {
	*personWorld
	faults *tokenservertest.Faults
	key    *rsa.PrivateKey
	// admin is an opaque token that manages apps.
	admin string
	apps  map[string]oauth.ConnectedApp
}

// attempt is a request that can be repeated as it is.
type attempt func() answer

// door is one way in. It is made anew for every attempt while all is well; right
// is the status of the right answer.
type door struct {
	name  string
	right int
	make  func(b *building) attempt
}

func newBuilding(t *testing.T, options ...tokenservertest.Option) *building {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	b := &building{personWorld: &personWorld{t: t}, key: key, faults: tokenservertest.NewFaults(), apps: map[string]oauth.ConnectedApp{}}
	options = append(options, tokenservertest.WithStorage(b.faults.Wrap),
		tokenservertest.WithConfig(func(c *tokenserver.Config) { c.Workloads = b.cluster() }))
	b.personWorld = newPersonWorld(t, webApp, options...)
	b.apps["web"] = b.app
	people := map[string]any{"grant_types": []string{"authorization_code", "refresh_token", "password"}, "redirect_uris": []string{callback},
		"scopes": []string{"openid", "profile", "email", "offline_access"}}
	machine := map[string]any{"grant_types": []string{"client_credentials"}}
	vouching := map[string]any{"grant_types": []string{oauth.GrantJWTBearer}, "public_keys": []string{pemOf(t, key.Public())},
		"redirect_uris": []string{callback}, "scopes": []string{"openid", "profile"}, "identity_providers": []string{tokenservertest.ProviderID}}
	keyed := map[string]any{"public_keys": []string{pemOf(t, key.Public())}, "token_endpoint_auth_method": "private_key_jwt"}
	federated := map[string]any{"federated_identities": []map[string]string{{"issuer_name": "cluster", "subject": workloadSubject}}}
	opaque := map[string]any{"access_token_format": "opaque"}
	for name, members := range map[string][]map[string]any{
		"machine": {machine}, "workload": {machine, federated}, "opaque machine": {machine, opaque}, "keyed": {machine, keyed}, "opaque keyed": {machine, keyed, opaque},
		"opaque web": {people, opaque}, "vouching": {vouching}, "opaque vouching": {vouching, opaque},
		"public":   {people, opaque, {"token_endpoint_auth_method": "none", "refresh_grace_seconds": 0, "grant_types": []string{"authorization_code", "refresh_token"}}},
		"managing": {machine, opaque},
	} {
		b.apps[name] = b.register(name, members...)
	}
	// As the configuration does it: management reaches an app only so.
	_, err = b.i.Store.UpdateApp(t.Context(), b.apps["managing"].ClientID, b.clock.Now(), func(a *storage.App) error {
		a.ContextScopes = []storage.ContextScope{{Scope: oauth.ScopeManageConnApps, Org: b.i.OrgID}}
		return nil
	})
	require.NoError(t, err)
	require.NoError(t, b.i.Server.Load(t.Context()))
	b.admin = b.machineToken("managing")
	return b
}

func (b *building) register(name string, members ...map[string]any) oauth.ConnectedApp {
	body := map[string]any{"client_name": name, "audience": "internal"}
	for _, more := range members {
		for key, value := range more {
			body[key] = value
		}
	}
	text, err := json.Marshal(body)
	require.NoError(b.t, err)
	return register(b.t, b.i, string(text))
}

// tick lets so much time pass that the feed has to be confirmed again.
func (b *building) tick() { b.clock.advance(2 * time.Second) }

// settle lets time pass until the feed is confirmed again: a poll that hung may
// have come to its end only now, as the clock of the test sees it.
func (b *building) settle() {
	const most = 100
	for range most {
		b.tick()
		if b.send(http.MethodGet, oauth.PathScopeCatalog, b.admin, "")().StatusCode == http.StatusOK {
			return
		}
	}
	b.t.Fatal("the feed is not confirmed, though the storage is well")
}

// send makes a request that can be repeated.
func (b *building) send(method, path, token, body string) attempt {
	return func() answer {
		request, err := http.NewRequestWithContext(b.t.Context(), method, b.i.URL+path, strings.NewReader(body))
		require.NoError(b.t, err)
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		switch {
		case strings.HasPrefix(body, "{"):
			request.Header.Set("Content-Type", "application/json")
		case body != "":
			request.Header.Set("Content-Type", formType)
		}
		response, err := http.DefaultClient.Do(request)
		require.NoError(b.t, err)
		defer func() { _ = response.Body.Close() }()
		text, err := io.ReadAll(response.Body)
		require.NoError(b.t, err)
		return answer{response, string(text)}
	}
}

// as posts a form as an app: with its secret, or with an assertion made now.
func (b *building) as(name, path string, fields ...string) attempt {
	app := b.apps[name]
	form := url.Values{"client_id": {app.ClientID}}
	if app.ClientSecret != "" {
		form.Set("client_secret", app.ClientSecret)
	}
	if strings.HasSuffix(name, "keyed") {
		form.Set("client_assertion_type", oauth.AssertionTypeJWTBearer)
		form.Set("client_assertion", b.sign(jwt.MapClaims{"iss": app.ClientID, "sub": app.ClientID, "aud": b.i.URL + oauth.IssuerPath}))
	}
	if name == "workload" {
		form.Set("client_assertion_type", oauth.AssertionTypeJWTBearer)
		form.Set("client_assertion", b.sign(jwt.MapClaims{"iss": workloadIssuer, "sub": workloadSubject, "aud": "building", "iat": b.clock.Now().Unix()}))
	}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return b.send(http.MethodPost, path, "", form.Encode())
}

const workloadIssuer, workloadSubject = "https://cluster.example", "system:serviceaccount:a:b"

// cluster is a workload issuer that signs with the key of the building.
func (b *building) cluster() *workload.Issuers {
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: b.key.Public()}}})
	require.NoError(b.t, err)
	path := filepath.Join(b.t.TempDir(), "keys.json")
	require.NoError(b.t, os.WriteFile(path, set, 0o600))
	keys, err := workload.NewKeyFile(path)
	require.NoError(b.t, err)
	trusted, err := workload.New([]workload.Issuer{{Name: "cluster", URL: workloadIssuer, Audience: "building", Source: keys}},
		func() time.Time { return b.clock.Now() })
	require.NoError(b.t, err)
	return trusted
}

func (b *building) sign(claims jwt.MapClaims) string {
	claims["jti"], claims["exp"] = rand.Text(), b.clock.Now().Add(5*time.Minute).Unix()
	raw, err := jwt.NewWithClaims(jwt.SigningMethodRS256, claims).SignedString(b.key)
	require.NoError(b.t, err)
	return raw
}

func (b *building) tokens(do attempt) oauth.TokenResponse {
	got := do()
	require.Equal(b.t, http.StatusOK, got.StatusCode, got.body)
	var tokens oauth.TokenResponse
	require.NoError(b.t, json.Unmarshal([]byte(got.body), &tokens))
	return tokens
}

func (b *building) machineToken(name string) string {
	return b.tokens(b.as(name, oauth.PathToken, "grant_type", "client_credentials")).AccessToken
}

func (b *building) redemption(name string) attempt {
	code := b.code(func(c *storage.AuthorizationCode) { c.ClientID = b.apps[name].ClientID })
	return b.as(name, oauth.PathToken, "grant_type", "authorization_code", "code", code, "redirect_uri", callback, "code_verifier", verifier)
}

func (b *building) refreshing(name string) attempt {
	return b.as(name, oauth.PathToken, "grant_type", "refresh_token", "refresh_token", b.tokens(b.redemption(name)).RefreshToken)
}

func (b *building) vouch(name string) attempt {
	assertion := b.sign(jwt.MapClaims{"iss": b.apps[name].ClientID, "aud": b.i.URL + oauth.PathToken,
		"sub": "v2|" + tokenservertest.ProviderID + "|" + rand.Text()})
	return b.send(http.MethodPost, oauth.PathToken, "", url.Values{"grant_type": {oauth.GrantJWTBearer}, "assertion": {assertion}}.Encode())
}

// asserted is an access token for a user of an identity provider.
func (b *building) asserted(name string) string { return b.tokens(b.vouch(name)).AccessToken }

// ended is a token that was revoked.
func (b *building) ended(token string) string {
	require.Equal(b.t, http.StatusOK, b.as("web", oauth.PathRevoke, "client_id", "", "client_secret", "", "token", token)().StatusCode)
	return token
}

// switchUser changes a user of an identity provider, a new one each time.
func (b *building) switchUser(body string) attempt {
	got := b.send(http.MethodGet, oauth.PathUsersMe, b.asserted("vouching"), "")()
	require.Equal(b.t, http.StatusOK, got.StatusCode, got.body)
	var person oauth.User
	require.NoError(b.t, json.Unmarshal([]byte(got.body), &person))
	return b.send(http.MethodPatch, oauth.PathOrganizations+"/"+b.i.OrgID+"/users/"+person.ID, b.admin, body)
}

// managed is an app to be managed, and its path.
func (b *building) managed() (oauth.ConnectedApp, string) {
	app := b.register("managed", map[string]any{"grant_types": []string{"client_credentials"}})
	return app, oauth.PathConnectedApps + "/" + app.ClientID
}

func (b *building) visitor() *visitor {
	v := newVisitor(b.personWorld)
	require.Equal(b.t, http.StatusSeeOther, v.signIn("").StatusCode)
	return v
}

func (b *building) authorization(fields ...string) string {
	q := url.Values{"client_id": {b.app.ClientID}, "response_type": {"code"}, "scope": {"openid profile"}, "redirect_uri": {callback}, "state": {"s"}}
	for i := 0; i < len(fields); i += 2 {
		q.Set(fields[i], fields[i+1])
	}
	return oauth.PathAuthorize + "?" + q.Encode()
}

func (v *visitor) attempt(method, path string, form url.Values) attempt {
	return func() answer { return v.do(method, path, form) }
}

// without is a directory in which nobody has an identity provider and Ulf is
// disabled.
func without() *directory.Directory {
	return tokenservertest.Directory(func(o *directory.Organization, u *directory.User) {
		if o != nil {
			o.IdentityProviders = nil
		}
		if u != nil && u.ID == tokenservertest.UserID {
			u.Enabled = false
		}
	})
}

// afterTheyLeft disables Ulf and takes the identity provider away for the time of
// each request.
func (b *building) afterTheyLeft(do attempt) attempt {
	return func() answer {
		before := b.i.Directory.Load()
		b.i.Directory.Store(without())
		defer b.i.Directory.Store(before)
		return do()
	}
}

func readAll(t *testing.T, response *http.Response) string {
	t.Helper()
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(text)
}
