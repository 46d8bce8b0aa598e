// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
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
	b := &building{key: key, faults: tokenservertest.NewFaults(), apps: map[string]oauth.ConnectedApp{}}
	options = append(options, tokenservertest.WithStorage(b.faults.Wrap))
	b.personWorld = newPersonWorld(t, webApp, options...)
	b.apps["web"] = b.app
	people := map[string]any{"grant_types": []string{"authorization_code", "refresh_token", "password"}, "redirect_uris": []string{callback},
		"scopes": []string{"openid", "profile", "email", "offline_access"}}
	machine := map[string]any{"grant_types": []string{"client_credentials"}}
	vouching := map[string]any{"grant_types": []string{oauth.GrantJWTBearer}, "public_keys": []string{pemOf(t, key.Public())},
		"redirect_uris": []string{callback}, "scopes": []string{"openid", "profile"}, "identity_providers": []string{tokenservertest.ProviderID}}
	keyed := map[string]any{"public_keys": []string{pemOf(t, key.Public())}, "token_endpoint_auth_method": "private_key_jwt"}
	opaque := map[string]any{"access_token_format": "opaque"}
	for name, members := range map[string][]map[string]any{
		"machine": {machine}, "opaque machine": {machine, opaque}, "keyed": {machine, keyed}, "opaque keyed": {machine, keyed, opaque},
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
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return b.send(http.MethodPost, path, "", form.Encode())
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

var clientCredentials = []string{"grant_type", "client_credentials"}

// tokenDoors are all grants, with every kind of client authentication and token.
var tokenDoors = []door{
	{"client credentials", 200, func(b *building) attempt { return b.as("machine", oauth.PathToken, clientCredentials...) }},
	{"client credentials, opaque", 200, func(b *building) attempt { return b.as("opaque machine", oauth.PathToken, clientCredentials...) }},
	{"client credentials by private_key_jwt", 200, func(b *building) attempt { return b.as("keyed", oauth.PathToken, clientCredentials...) }},
	{"client credentials by private_key_jwt, opaque", 200, func(b *building) attempt {
		return b.as("opaque keyed", oauth.PathToken, clientCredentials...)
	}},
	{"a code", 200, func(b *building) attempt { return b.redemption("web") }},
	{"a code, opaque", 200, func(b *building) attempt { return b.redemption("opaque web") }},
	{"a refresh token", 200, func(b *building) attempt { return b.refreshing("web") }},
	{"a refresh token, opaque", 200, func(b *building) attempt { return b.refreshing("opaque web") }},
	{"a refresh token of a public client without grace", 200, func(b *building) attempt { return b.refreshing("public") }},
	{"a password", 200, func(b *building) attempt { return b.passwordOf("web") }},
	{"a password, opaque", 200, func(b *building) attempt { return b.passwordOf("opaque web") }},
	{"an assertion", 200, func(b *building) attempt { return b.vouch("vouching") }},
	{"an assertion, opaque", 200, func(b *building) attempt { return b.vouch("opaque vouching") }},
}

func (b *building) passwordOf(name string) attempt {
	return b.as(name, oauth.PathToken, "grant_type", "password", "username", "ulf", "password", tokenservertest.Password)
}

// bearerDoors are what tells about tokens, ends them or takes them.
var bearerDoors = []door{
	{"introspection of a JWT", 200, func(b *building) attempt {
		return b.as("machine", oauth.PathIntrospect, "token", b.machineToken("machine"))
	}},
	{"introspection of an opaque token by private_key_jwt", 200, func(b *building) attempt {
		return b.as("opaque keyed", oauth.PathIntrospect, "token", b.machineToken("opaque keyed"))
	}},
	{"introspection of a refresh token", 200, func(b *building) attempt {
		return b.as("web", oauth.PathIntrospect, "token", b.tokens(b.redemption("web")).RefreshToken)
	}},
	{"revocation of a JWT", 200, func(b *building) attempt {
		return b.as("machine", oauth.PathRevoke, "token", b.machineToken("machine"))
	}},
	{"revocation of an opaque token by private_key_jwt", 200, func(b *building) attempt {
		return b.as("opaque keyed", oauth.PathRevoke, "token", b.machineToken("opaque keyed"))
	}},
	{"revocation of a refresh token", 200, func(b *building) attempt {
		return b.as("web", oauth.PathRevoke, "token", b.tokens(b.redemption("web")).RefreshToken)
	}},
	{"userinfo", 200, func(b *building) attempt {
		return b.send(http.MethodGet, oauth.PathUserInfo, b.asserted("vouching"), "")
	}},
	{"userinfo, opaque", 200, func(b *building) attempt {
		return b.send(http.MethodGet, oauth.PathUserInfo, b.asserted("opaque vouching"), "")
	}},
	{"profile", 200, func(b *building) attempt {
		return b.send(http.MethodGet, oauth.PathProfile, b.asserted("vouching"), "")
	}},
	{"profile, opaque", 200, func(b *building) attempt {
		return b.send(http.MethodGet, oauth.PathMe, b.asserted("opaque vouching"), "")
	}},
	{"an organization, opaque", 200, func(b *building) attempt {
		return b.send(http.MethodGet, oauth.PathOrganizations+"/"+b.i.OrgID, b.admin, "")
	}},
	{"signing in as a program", 200, func(b *building) attempt {
		return b.send(http.MethodPost, "/accounts/login", "", fmt.Sprintf(`{"username":"ulf","password":%q}`, tokenservertest.Password))
	}},
	{"signing out as a program", 204, func(b *building) attempt {
		return b.send(http.MethodGet, "/accounts/api/logout", b.machineToken("opaque machine"), "")
	}},
}

// shutDoors must stay shut, whatever the storage says.
var shutDoors = []door{
	{"a revoked token", 401, func(b *building) attempt {
		return b.send(http.MethodPost, oauth.PathConnectedApps, b.ended(b.machineToken("managing")), machineApp)
	}},
	{"a revoked JWT", 401, func(b *building) attempt {
		return b.send(http.MethodGet, oauth.PathProfile, b.ended(b.asserted("vouching")), "")
	}},
	{"a user whose provider is gone", 401, func(b *building) attempt {
		return b.afterTheyLeft(b.send(http.MethodGet, oauth.PathUserInfo, b.asserted("vouching"), ""))
	}},
	{"a user whose provider is gone, opaque", 401, func(b *building) attempt {
		return b.afterTheyLeft(b.send(http.MethodGet, oauth.PathMe, b.asserted("opaque vouching"), ""))
	}},
	{"a code of a disabled user", 400, func(b *building) attempt { return b.afterTheyLeft(b.redemption("web")) }},
	{"a refresh token of a disabled user", 400, func(b *building) attempt { return b.afterTheyLeft(b.refreshing("opaque web")) }},
	{"an unknown opaque token", 401, func(b *building) attempt { return b.send(http.MethodGet, oauth.PathConnectedApps, "cat_nobody", "") }},
	{"an assertion that was used", 400, func(b *building) attempt { return used(b.vouch("opaque vouching")) }},
	{"a client assertion that was used", 401, func(b *building) attempt { return used(b.as("keyed", oauth.PathToken, clientCredentials...)) }},
}

func used(do attempt) attempt {
	do()
	return do
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

// managementDoors are the management API, by an opaque token.
var managementDoors = []door{
	{"listing apps", 200, func(b *building) attempt { return b.send(http.MethodGet, oauth.PathConnectedApps, b.admin, "") }},
	{"creating an app", 201, func(b *building) attempt {
		return b.send(http.MethodPost, oauth.PathConnectedApps, b.admin,
			`{"client_name":"new","grant_types":["client_credentials"],"audience":"internal","external_id":"`+rand.Text()+`"}`)
	}},
	{"reading an app", 200, func(b *building) attempt { return b.manage(http.MethodGet, "", "") }},
	{"changing an app", 200, func(b *building) attempt { return b.manage(http.MethodPatch, "", `{"client_name":"renamed"}`) }},
	{"switching an app off", 200, func(b *building) attempt { return b.manage(http.MethodPatch, "", `{"enabled":false}`) }},
	{"deleting an app", 204, func(b *building) attempt { return b.manage(http.MethodDelete, "", "") }},
	{"reading scopes", 200, func(b *building) attempt { return b.manage(http.MethodGet, "/scopes", "") }},
	{"replacing scopes", 204, func(b *building) attempt { return b.manage(http.MethodPut, "/scopes", `{"scopes":[]}`) }},
	{"reading secrets", 200, func(b *building) attempt { return b.manage(http.MethodGet, "/secrets", "") }},
	{"adding a secret", 201, func(b *building) attempt { return b.manage(http.MethodPost, "/secrets", `{"overlap_seconds":60}`) }},
	{"the scope catalogue", 200, func(b *building) attempt { return b.send(http.MethodGet, oauth.PathScopeCatalog, b.admin, "") }},
}

func (b *building) manage(method, below, body string) attempt {
	_, path := b.managed()
	return b.send(method, path+below, b.admin, body)
}

// pageDoors are what people see.
var pageDoors = []door{
	{"authorizing when nobody is signed in", 303, func(b *building) attempt {
		return newVisitor(b.personWorld).attempt(http.MethodGet, b.authorization(), nil)
	}},
	{"the consent page", 200, func(b *building) attempt {
		return b.visitor().attempt(http.MethodGet, b.authorization("prompt", "consent"), nil)
	}},
	{"authorizing by POST", 303, func(b *building) attempt {
		q, _ := url.ParseQuery(strings.SplitN(b.authorization(), "?", 2)[1])
		return b.visitor().attempt(http.MethodPost, oauth.PathAuthorize, q)
	}},
	{"consenting", 303, func(b *building) attempt {
		v := b.visitor()
		page := v.get(b.authorization("prompt", "consent"))
		answer := form(page, "decision", "approve")
		answer["scope"] = []string{"openid", "profile"}
		return v.attempt(http.MethodPost, "/accounts/authorize-app", answer)
	}},
	{"authorizing what was allowed", 303, func(b *building) attempt {
		_, err := b.i.Store.WidenConsent(b.t.Context(), storage.Consent{UserID: tokenservertest.UserID, ClientID: b.app.ClientID, OrgID: b.i.OrgID,
			Scopes: []string{"openid", "profile"}, SecurityVersion: 1, CreatedAt: b.clock.Now()}, b.clock.Now())
		require.NoError(b.t, err)
		return b.visitor().attempt(http.MethodGet, b.authorization("prompt", "none"), nil)
	}},
	{"the sign-in page of who is signed in", 303, func(b *building) attempt {
		return b.visitor().attempt(http.MethodGet, "/accounts/sign-in", nil)
	}},
	{"signing in", 303, func(b *building) attempt {
		v := newVisitor(b.personWorld)
		return v.attempt(http.MethodPost, "/accounts/sign-in", form(v.get("/accounts/sign-in"), "username", "ulf", "password", tokenservertest.Password))
	}},
	{"signing in again", 303, func(b *building) attempt {
		v := b.visitor()
		page := v.get("/accounts/sign-in?" + url.Values{"continue": {b.authorization("prompt", "login")}}.Encode())
		return v.attempt(http.MethodPost, "/accounts/sign-in", form(page, "username", "ulf", "password", tokenservertest.Password))
	}},
	{"authorized apps", 200, func(b *building) attempt {
		v := b.visitor()
		b.clock.advance(2 * time.Minute) // the session is touched
		return v.attempt(http.MethodGet, "/accounts/authorized-apps", nil)
	}},
	{"revoking a consent", 303, func(b *building) attempt {
		v := b.visitor()
		return v.attempt(http.MethodPost, "/accounts/authorized-apps/revoke", form(v.get("/accounts/authorized-apps"), "client_id", b.apps["machine"].ClientID))
	}},
	{"the sign-out page", 200, func(b *building) attempt { return b.visitor().attempt(http.MethodGet, oauth.PathEndSession, nil) }},
	{"signing out", 200, func(b *building) attempt {
		v := b.visitor()
		return v.attempt(http.MethodPost, "/accounts/sign-out", form(v.get("/accounts/sign-out")))
	}},
	{"signing out by an app's hint", 200, func(b *building) attempt {
		hint := b.tokens(b.redemption("web")).IDToken
		return b.visitor().attempt(http.MethodGet, oauth.PathEndSession+"?"+url.Values{"id_token_hint": {hint}}.Encode(), nil)
	}},
}

func readAll(t *testing.T, response *http.Response) string {
	t.Helper()
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(text)
}
