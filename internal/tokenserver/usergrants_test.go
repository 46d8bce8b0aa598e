// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

const (
	formType  = "application/x-www-form-urlencoded"
	callback  = "https://app.example.com/cb"
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // RFC 7636 appendix B
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

// clock is a server's time that a test moves.
type clock struct {
	mu     sync.Mutex
	offset time.Duration
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}

// personWorld is a server with an app that acts for users.
type personWorld struct {
	t     *testing.T
	i     *tokenservertest.Instance
	clock *clock
	app   oauth.ConnectedApp
}

const webApp = `{"client_name":"web","grant_types":["authorization_code","refresh_token","password"],"redirect_uris":["` + callback + `"],
	"scopes":["openid","profile","email","offline_access"],"audience":"internal"}`

func newPersonWorld(t *testing.T, app string, options ...tokenservertest.Option) *personWorld {
	t.Helper()
	w := &personWorld{t: t, clock: &clock{}}
	hash, err := user.HashPassword(tokenservertest.Password)
	require.NoError(t, err)
	options = append(options, tokenservertest.WithPasswordHash(hash),
		tokenservertest.WithConfig(func(c *tokenserver.Config) { c.Now = w.clock.Now }))
	w.i = tokenservertest.Start(t, options...)
	w.app = register(t, w.i, app)
	return w
}

// code stores a code as the authorization endpoint does, and returns it.
func (w *personWorld) code(change func(*storage.AuthorizationCode)) string {
	w.t.Helper()
	raw, now := rand.Text(), w.clock.Now()
	hash := sha256.Sum256([]byte(raw))
	epoch, err := w.i.Store.Epoch(w.t.Context(), storage.EpochUser, tokenservertest.UserID)
	require.NoError(w.t, err)
	record := storage.AuthorizationCode{
		Hash: hash[:], ClientID: w.app.ClientID, Epochs: storage.Epochs{User: epoch.Value}, UserID: tokenservertest.UserID, OrgID: w.i.OrgID, RedirectURI: callback,
		Scopes: []string{"openid", "profile", "offline_access"}, Challenge: challenge, Nonce: "n", AuthTime: now, SessionID: "sid",
		GrantID: uuid.NewString(), CreatedAt: now, ExpiresAt: now.Add(time.Minute),
	}
	if change != nil {
		change(&record)
	}
	require.NoError(w.t, w.i.Store.CreateCode(w.t.Context(), record))
	return raw
}

// request posts to the token endpoint as the app.
func (w *personWorld) request(fields ...string) (int, oauth.TokenResponse, oauth.ErrorResponse, *http.Response) {
	w.t.Helper()
	form := url.Values{"client_id": {w.app.ClientID}, "client_secret": {w.app.ClientSecret}}
	if w.app.ClientSecret == "" {
		form.Del("client_secret")
	}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	response, body := post(w.t, w.i.URL+oauth.PathToken, formType, form.Encode(), nil)
	var tokens oauth.TokenResponse
	var failure oauth.ErrorResponse
	require.NoError(w.t, json.Unmarshal([]byte(body), &tokens))
	require.NoError(w.t, json.Unmarshal([]byte(body), &failure))
	return response.StatusCode, tokens, failure, response
}

func (w *personWorld) redeem(code string, fields ...string) (int, oauth.TokenResponse, oauth.ErrorResponse) {
	w.t.Helper()
	status, tokens, failure, _ := w.request(append([]string{"grant_type", "authorization_code", "code", code,
		"redirect_uri", callback, "code_verifier", verifier}, fields...)...)
	return status, tokens, failure
}

func (w *personWorld) refresh(token string, fields ...string) (int, oauth.TokenResponse, oauth.ErrorResponse) {
	w.t.Helper()
	status, tokens, failure, _ := w.request(append([]string{"grant_type", "refresh_token", "refresh_token", token}, fields...)...)
	return status, tokens, failure
}

// userInfo asks who the token's user is.
func (w *personWorld) userInfo(token string) (int, map[string]any) {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.i.URL+oauth.PathUserInfo, nil)
	require.NoError(w.t, err)
	request.Header.Set("Authorization", "bearer "+token)
	response, err := http.DefaultClient.Do(request)
	require.NoError(w.t, err)
	defer func() { _ = response.Body.Close() }()
	var claims map[string]any
	require.NoError(w.t, json.NewDecoder(response.Body).Decode(&claims))
	return response.StatusCode, claims
}

func TestACodeBecomesTokensOnce(t *testing.T) {
	w := newPersonWorld(t, webApp)
	status, tokens, _ := w.redeem(w.code(nil))
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "bearer", tokens.TokenType)
	require.Equal(t, "openid profile offline_access", tokens.Scope)
	require.Len(t, tokens.RefreshToken, 75)
	require.Len(t, strings.Split(tokens.IDToken, "."), 3)
	status, claims := w.userInfo(tokens.AccessToken)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, map[string]any{"sub": tokenservertest.UserID, "preferred_username": "ulf", "name": "Ulf User", "given_name": "Ulf",
		"family_name": "User", "org_id": tokenservertest.OrgID}, claims)

	status, tokens, _ = w.redeem(w.code(func(c *storage.AuthorizationCode) { c.Scopes = []string{"profile"} }))
	require.Equal(t, http.StatusOK, status)
	require.Empty(t, tokens.RefreshToken, "only with offline_access")
	require.Empty(t, tokens.IDToken, "only with openid")
	status, _ = w.userInfo(tokens.AccessToken)
	require.Equal(t, http.StatusForbidden, status)
}

func TestTheVendorsJSONBodyRedeemsACode(t *testing.T) {
	w := newPersonWorld(t, `{"client_name":"GitProxy","grant_types":["refresh_token","authorization_code"],
		"redirect_uris":["https://example.com/"],"scopes":["profile","offline_access"],"public_keys":[],"audience":"internal"}`)
	code := w.code(func(c *storage.AuthorizationCode) {
		c.RedirectURI, c.Challenge, c.Scopes = "https://example.com", "", []string{"profile", "offline_access"}
	})
	body := fmt.Sprintf(`{"client_id":%q,"redirect_uri":"https://example.com","client_secret":%q,"grant_type":"authorization_code","code":%q}`,
		w.app.ClientID, w.app.ClientSecret, code)
	response, text := post(t, w.i.URL+oauth.PathToken, "application/json", body, nil)
	require.Equal(t, http.StatusOK, response.StatusCode, text)
	var tokens oauth.TokenResponse
	require.NoError(t, json.Unmarshal([]byte(text), &tokens))
	body = fmt.Sprintf(`{"client_id":%q,"client_secret":%q,"grant_type":"refresh_token","refresh_token":%q}`,
		w.app.ClientID, w.app.ClientSecret, tokens.RefreshToken)
	response, text = post(t, w.i.URL+oauth.PathToken, "application/json", body, nil)
	require.Equal(t, http.StatusOK, response.StatusCode, text)
}

func TestACodeServesOnlyTheRequestItWasIssuedFor(t *testing.T) {
	w := newPersonWorld(t, webApp)
	other := register(t, w.i, strings.Replace(webApp, "web", "other", 1))
	for name, test := range map[string]struct {
		change func(*storage.AuthorizationCode)
		fields []string
		code   string // the error; empty: invalid_grant
	}{
		"no code":                          {fields: []string{"code", ""}, code: "invalid_request"},
		"an unknown code":                  {fields: []string{"code", "unknown"}},
		"a code of another client":         {fields: []string{"client_id", other.ClientID, "client_secret", other.ClientSecret}},
		"another redirect URI":             {fields: []string{"redirect_uri", "https://app.example.com/other"}},
		"no redirect URI":                  {fields: []string{"redirect_uri", ""}},
		"no verifier":                      {fields: []string{"code_verifier", ""}},
		"another verifier":                 {fields: []string{"code_verifier", strings.Repeat("a", 43)}},
		"the challenge as verifier":        {fields: []string{"code_verifier", challenge}},
		"a verifier that is too long":      {fields: []string{"code_verifier", strings.Repeat("a", 129)}},
		"a verifier but no challenge":      {change: func(c *storage.AuthorizationCode) { c.Challenge = "" }},
		"an expired code":                  {change: func(c *storage.AuthorizationCode) { c.ExpiresAt = c.CreatedAt }},
		"a user who is gone":               {change: func(c *storage.AuthorizationCode) { c.UserID = uuid.NewString() }},
		"a user of another organization":   {change: func(c *storage.AuthorizationCode) { c.UserID = tokenservertest.OtherUserID }},
		"a wrong secret":                   {fields: []string{"client_secret", "wrong"}, code: "invalid_client"},
		"a redirect URI nobody registered": {change: func(c *storage.AuthorizationCode) { c.RedirectURI = "" }, fields: []string{"redirect_uri", "https://evil.example"}},
	} {
		t.Run(name, func(t *testing.T) {
			status, tokens, failure := w.redeem(w.code(test.change), test.fields...)
			want, wantStatus := test.code, http.StatusBadRequest
			if want == "" {
				want = "invalid_grant"
			}
			if want == "invalid_client" {
				wantStatus = http.StatusUnauthorized
			}
			assert.Equal(t, wantStatus, status)
			assert.Equal(t, want, failure.Error)
			assert.Empty(t, tokens.AccessToken)
		})
	}
}

func TestARefusedRequestLeavesTheCodeUsable(t *testing.T) {
	w := newPersonWorld(t, webApp)
	code := w.code(nil)
	_, _, failure := w.redeem(code, "code_verifier", strings.Repeat("a", 43))
	require.Equal(t, "invalid_grant", failure.Error)
	status, _, _ := w.redeem(code)
	require.Equal(t, http.StatusOK, status, "a stranger who guesses does not use it up")
}

func TestACodeUsedTwiceEndsWhatItBegan(t *testing.T) {
	w := newPersonWorld(t, webApp)
	other := register(t, w.i, strings.Replace(webApp, "web", "other", 1))
	code := w.code(nil)
	_, tokens, _ := w.redeem(code)
	_, _, failure := w.redeem(code, "client_id", other.ClientID, "client_secret", other.ClientSecret)
	require.Equal(t, "invalid_grant", failure.Error)
	status, _ := w.userInfo(tokens.AccessToken)
	require.Equal(t, http.StatusOK, status, "another client cannot end it")

	w.clock.advance(2 * time.Minute)
	_, _, failure = w.redeem(code)
	require.Equal(t, "invalid_grant", failure.Error)
	status, _ = w.userInfo(tokens.AccessToken)
	require.Equal(t, http.StatusUnauthorized, status)
	_, _, failure = w.refresh(tokens.RefreshToken)
	require.Equal(t, "invalid_grant", failure.Error)
}

func TestOfConcurrentRedemptionsOneWins(t *testing.T) {
	w := newPersonWorld(t, webApp)
	for range 5 {
		code := w.code(nil)
		statuses := make(chan int, 8)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				response, err := http.PostForm(w.i.URL+oauth.PathToken, url.Values{"client_id": {w.app.ClientID},
					"client_secret": {w.app.ClientSecret}, "grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback},
					"code_verifier": {verifier}})
				if err != nil {
					t.Error(err)
					return
				}
				_ = response.Body.Close()
				statuses <- response.StatusCode
			})
		}
		wg.Wait()
		close(statuses)
		count := map[int]int{}
		for status := range statuses {
			count[status]++
		}
		require.Equal(t, map[int]int{http.StatusOK: 1, http.StatusBadRequest: 7}, count)
	}
}

func TestARefreshNarrowsButNeverWidens(t *testing.T) {
	w := newPersonWorld(t, webApp)
	_, tokens, _ := w.redeem(w.code(nil))
	status, narrow, _ := w.refresh(tokens.RefreshToken, "scope", "profile")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "profile", narrow.Scope)
	require.Empty(t, narrow.IDToken)
	status, wide, _ := w.refresh(narrow.RefreshToken)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "openid profile offline_access", wide.Scope, "narrowing was for one token alone")
	status, _, failure := w.refresh(wide.RefreshToken, "scope", "profile email")
	require.Equal(t, http.StatusBadRequest, status)
	require.Equal(t, "invalid_scope", failure.Error)
	status, same, _ := w.refresh(wide.RefreshToken, "scope", "openid profile email groups phone")
	require.Equal(t, http.StatusOK, status, "a refused request costs no token, and beside openid none is refused")
	require.Equal(t, "openid profile", same.Scope, "what the user did not allow stays out")
	require.NotEmpty(t, same.IDToken)
}

func TestARefreshTokenEndsWithWhatItRestsOn(t *testing.T) {
	for name, end := range map[string]func(w *personWorld){
		"its life of 90 days": func(w *personWorld) { w.clock.advance(90*24*time.Hour + time.Second) },
		"the user's consent": func(w *personWorld) {
			_, err := w.i.Store.RevokeConsent(w.t.Context(), tokenservertest.UserID, w.app.ClientID, w.clock.Now())
			require.NoError(w.t, err)
			w.clock.advance(2 * time.Second) // as another replica's revocation, it comes by the feed
		},
		"the user": func(w *personWorld) {
			w.i.Directory.Store(tokenservertest.Directory(func(_ *directory.Organization, u *directory.User) {
				if u != nil && u.ID == tokenservertest.UserID {
					u.Enabled = false
				}
			}))
		},
		"the app": func(w *personWorld) {
			_, err := w.i.Store.DeleteApp(w.t.Context(), w.app.ClientID, w.clock.Now())
			require.NoError(w.t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newPersonWorld(t, webApp)
			_, tokens, _ := w.redeem(w.code(nil))
			end(w)
			status, _, failure := w.refresh(tokens.RefreshToken)
			require.Equal(t, http.StatusBadRequest, status)
			require.Equal(t, "invalid_grant", failure.Error)
		})
	}
}

func TestARefreshTokenThatIsNotOneIsRefused(t *testing.T) {
	w := newPersonWorld(t, webApp)
	other := register(t, w.i, strings.Replace(webApp, "web", "other", 1))
	_, tokens, _ := w.redeem(w.code(nil))
	raw, err := base64.RawURLEncoding.DecodeString(tokens.RefreshToken)
	require.NoError(t, err)
	flipped := func(i int) string {
		changed := append([]byte(nil), raw...)
		changed[i] ^= 1
		return base64.RawURLEncoding.EncodeToString(changed)
	}
	for name, test := range map[string]struct {
		token, code string
		fields      []string
	}{
		"none":                     {"", "invalid_request", nil},
		"text":                     {"refresh", "invalid_grant", nil},
		"another family":           {flipped(0), "invalid_grant", nil},
		"another generation":       {flipped(23), "invalid_grant", nil},
		"another MAC":              {flipped(55), "invalid_grant", nil},
		"one more character":       {tokens.RefreshToken + "A", "invalid_grant", nil},
		"that of another client":   {tokens.RefreshToken, "invalid_grant", []string{"client_id", other.ClientID, "client_secret", other.ClientSecret}},
		"without the app's secret": {tokens.RefreshToken, "invalid_client", []string{"client_secret", ""}},
	} {
		_, _, failure := w.refresh(test.token, test.fields...)
		assert.Equal(t, test.code, failure.Error, name)
	}
	status, _, _ := w.refresh(tokens.RefreshToken)
	require.Equal(t, http.StatusOK, status, "none of it has ended the family")
}

func TestAPublicClientRepeatsARefreshWithinItsGraceAlone(t *testing.T) {
	for name, test := range map[string]struct {
		grace string
		after time.Duration
		want  int
	}{
		"within half a minute":        {"", 29 * time.Second, http.StatusOK},
		"after half a minute":         {"", 31 * time.Second, http.StatusBadRequest},
		"within a grace of its own":   {`,"refresh_grace_seconds":120`, 119 * time.Second, http.StatusOK},
		"with the grace switched off": {`,"refresh_grace_seconds":0`, 0, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			w := newPersonWorld(t, `{"client_name":"cli","grant_types":["authorization_code","refresh_token"],
				"redirect_uris":["`+callback+`"],"scopes":["openid","profile","offline_access"],"token_endpoint_auth_method":"none"`+test.grace+`}`)
			w.app.ClientSecret = ""
			_, first, failure := w.redeem(w.code(nil))
			require.Empty(t, failure.Error)
			_, second, _ := w.refresh(first.RefreshToken)
			w.clock.advance(test.after)
			status, again, _ := w.refresh(first.RefreshToken)
			require.Equal(t, test.want, status)
			if status == http.StatusOK {
				require.Equal(t, second.RefreshToken, again.RefreshToken, "the lost answer is given again")
				return
			}
			status, _, _ = w.refresh(second.RefreshToken)
			require.Equal(t, http.StatusBadRequest, status, "the family has ended")
		})
	}
}

// TestRefreshFamiliesBehaveAsTheirModel plays any order of refreshes with any
// token a confidential client ever got. Current: the next one. The one before,
// as long as the current was not presented: the current. Older: all is over.
func TestRefreshFamiliesBehaveAsTheirModel(t *testing.T) {
	w := newPersonWorld(t, webApp)
	rapid.Check(t, func(rt *rapid.T) {
		_, tokens, failure := w.redeem(w.code(nil))
		require.Empty(rt, failure.Error)
		got, dead := []string{tokens.RefreshToken}, false
		for range rapid.IntRange(1, 12).Draw(rt, "refreshes") {
			age := rapid.SampledFrom([]int{0, 0, 0, 1, 1, 2, 3}).Draw(rt, "age")
			age = min(age, len(got)-1)
			presented := got[len(got)-1-age]
			w.clock.advance(time.Duration(rapid.IntRange(0, 7200).Draw(rt, "seconds")) * time.Second)
			status, next, failure := w.refresh(presented)
			switch {
			case dead || age >= 2:
				dead = true
				require.Equal(rt, "invalid_grant", failure.Error)
			case age == 1:
				require.Equal(rt, http.StatusOK, status)
				require.Equal(rt, got[len(got)-1], next.RefreshToken)
			default:
				require.Equal(rt, http.StatusOK, status)
				require.NotContains(rt, got, next.RefreshToken)
				got = append(got, next.RefreshToken)
			}
		}
	})
}

func TestConcurrentRefreshesOfOneTokenAllGetItsSuccessor(t *testing.T) {
	w := newPersonWorld(t, webApp)
	_, tokens, _ := w.redeem(w.code(nil))
	var mu sync.Mutex
	successors := map[string]int{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			response, err := http.PostForm(w.i.URL+oauth.PathToken, url.Values{"client_id": {w.app.ClientID},
				"client_secret": {w.app.ClientSecret}, "grant_type": {"refresh_token"}, "refresh_token": {tokens.RefreshToken}})
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = response.Body.Close() }()
			var next oauth.TokenResponse
			_ = json.NewDecoder(response.Body).Decode(&next)
			mu.Lock()
			defer mu.Unlock()
			successors[next.RefreshToken]++
		})
	}
	wg.Wait()
	require.Len(t, successors, 1, "nobody loses the chain")
	for token := range successors {
		status, _, _ := w.refresh(token)
		require.Equal(t, http.StatusOK, status)
	}
}

func TestThePasswordGrant(t *testing.T) {
	w := newPersonWorld(t, webApp)
	noPassword := register(t, w.i, `{"client_name":"no","grant_types":["authorization_code"],"redirect_uris":["`+callback+`"],"scopes":["profile"]}`)
	for name, test := range map[string]struct {
		fields []string
		code   string
		scope  string
	}{
		"a user of the app's organization": {nil, "", "openid profile email"},
		"scopes nobody knows, with openid": {[]string{"scope", "openid groups phone offline_access profile"}, "", "openid profile"},
		"a malformed one beside openid":    {[]string{"scope", "openid a\"b"}, "invalid_scope", ""},
		"a wrong password":                 {[]string{"password", "wrong"}, "invalid_grant", ""},
		"a name nobody has":                {[]string{"username", "nobody"}, "invalid_grant", ""},
		"a user of another organization":   {[]string{"username", "otto"}, "invalid_grant", ""},
		"no password":                      {[]string{"password", ""}, "invalid_request", ""},
		"no name":                          {[]string{"username", ""}, "invalid_request", ""},
		"a scope the app lacks":            {[]string{"scope", "full"}, "invalid_scope", ""},
		"offline access, never asked for":  {[]string{"scope", "offline_access"}, "invalid_scope", ""},
		"an app that does not list it":     {[]string{"client_id", noPassword.ClientID, "client_secret", noPassword.ClientSecret}, "unauthorized_client", ""},
	} {
		t.Run(name, func(t *testing.T) {
			status, tokens, failure, _ := w.request(append([]string{"grant_type", "password", "username", "ulf",
				"password", tokenservertest.Password}, test.fields...)...)
			require.Equal(t, test.code, failure.Error)
			if test.code == "" {
				require.Equal(t, http.StatusOK, status)
				require.Equal(t, test.scope, tokens.Scope)
				require.Empty(t, tokens.RefreshToken)
				return
			}
			require.Equal(t, http.StatusBadRequest, status)
		})
	}
}

func TestPasswordFailuresAreThrottledAtEveryDoor(t *testing.T) {
	w := newPersonWorld(t, webApp)
	for range 5 {
		_, _, failure, _ := w.request("grant_type", "password", "username", "ulf", "password", "wrong")
		require.Equal(t, "invalid_grant", failure.Error)
		response, body := post(t, w.i.URL+"/accounts/login", "application/json", `{"username":"ulf","password":"wrong"}`, nil)
		require.Equal(t, http.StatusUnauthorized, response.StatusCode)
		require.Equal(t, "Unauthorized\n", body)
	}
	status, _, failure, response := w.request("grant_type", "password", "username", "ulf", "password", tokenservertest.Password)
	require.Equal(t, http.StatusTooManyRequests, status)
	require.Equal(t, "temporarily_unavailable", failure.Error)
	require.NotEmpty(t, response.Header.Get("Retry-After"))
	response, _ = post(t, w.i.URL+"/accounts/login", formType, "username=ulf&password=x", nil)
	require.Equal(t, http.StatusTooManyRequests, response.StatusCode)
	status, _, _, _ = w.request("grant_type", "password", "username", "olga", "password", tokenservertest.Password)
	require.Equal(t, http.StatusOK, status)
	w.clock.advance(10 * time.Minute)
	status, _, _, _ = w.request("grant_type", "password", "username", "ulf", "password", tokenservertest.Password)
	require.Equal(t, http.StatusOK, status)
}

func TestSigningInForPrograms(t *testing.T) {
	w := newPersonWorld(t, webApp)
	login := w.i.URL + "/accounts/login"
	for name, test := range map[string]struct {
		kind, body string
		want       int
	}{
		"malformed JSON":       {"application/json", `{"username":`, http.StatusBadRequest},
		"a number as password": {"application/json", `{"username":"ulf","password":1}`, http.StatusBadRequest},
		"an array":             {"application/json", `[]`, http.StatusBadRequest},
		"no password":          {"application/json", `{"username":"ulf"}`, http.StatusBadRequest},
		"a name twice in JSON": {"application/json", `{"username":"ulf","username":"olga","password":"x"}`, http.StatusBadRequest},
		"two names":            {formType, "username=ulf&username=olga&password=x", http.StatusBadRequest},
		"XML":                  {"application/xml", `<a/>`, http.StatusUnsupportedMediaType},
		"no type":              {"", `{}`, http.StatusUnsupportedMediaType},
		"a large body":         {"application/json", `{"username":"` + strings.Repeat("a", 1<<20) + `"}`, http.StatusRequestEntityTooLarge},
	} {
		response, body := post(t, login, test.kind, test.body, nil)
		assert.Equal(t, test.want, response.StatusCode, name)
		assert.Contains(t, body, fmt.Sprintf(`"status":%d`, test.want), name)
	}
	password := url.QueryEscape(tokenservertest.Password)
	for _, attempt := range [][]string{
		{login, "application/json; charset=utf-8", `{"username":"ulf","password":"` + tokenservertest.Password + `","extra":1}`},
		{login, formType, "username=ulf&password=" + password},
		{w.i.URL + "/accounts/api/v1/oauth/token", formType, "username=ulf&password=" + password},
	} {
		response, body := post(t, attempt[0], attempt[1], attempt[2], nil)
		require.Equal(t, http.StatusOK, response.StatusCode, body)
		assert.Empty(t, response.Cookies())
		assert.Equal(t, "no-store", response.Header.Get("Cache-Control"))
		var answer map[string]string
		require.NoError(t, json.Unmarshal([]byte(body), &answer))
		require.Equal(t, "bearer", answer["token_type"])
		require.Equal(t, "/home/", answer["redirectUrl"])
		require.Len(t, answer, 3)

		status, claims := w.userInfo(answer["access_token"])
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, "ulf@example.com", claims["email"], "the token may do all the user may")
		out := func() int {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.i.URL+"/accounts/api/logout/", nil)
			require.NoError(t, err)
			request.Header.Set("Authorization", "bearer "+answer["access_token"])
			response, err := http.DefaultClient.Do(request)
			require.NoError(t, err)
			defer func() { _ = response.Body.Close() }()
			return response.StatusCode
		}
		require.Equal(t, http.StatusNoContent, out())
		status, _ = w.userInfo(answer["access_token"])
		require.Equal(t, http.StatusUnauthorized, status)
		require.Equal(t, http.StatusNoContent, out(), "out is out")
	}
}

func TestSigningInForProgramsCanBeSwitchedOff(t *testing.T) {
	w := newPersonWorld(t, webApp, tokenservertest.WithConfig(func(c *tokenserver.Config) { c.LoginDisabled = true }))
	response, _ := post(t, w.i.URL+"/accounts/login", "application/json", `{"username":"ulf","password":"x"}`, nil)
	require.Contains(t, []int{http.StatusNotFound, http.StatusMethodNotAllowed}, response.StatusCode)
}

func TestUserInfoIsForUsersWhoAllowedIt(t *testing.T) {
	w := newPersonWorld(t, webApp)
	machine := register(t, w.i, machineApp)
	_, body := post(t, w.i.URL+oauth.PathToken, formType, url.Values{"grant_type": {"client_credentials"}, "client_id": {machine.ClientID},
		"client_secret": {machine.ClientSecret}}.Encode(), nil)
	var tokens oauth.TokenResponse
	require.NoError(t, json.Unmarshal([]byte(body), &tokens))
	status, _ := w.userInfo(tokens.AccessToken)
	require.Equal(t, http.StatusForbidden, status, "an app is no user")
	status, _ = w.userInfo("nonsense")
	require.Equal(t, http.StatusUnauthorized, status)

	_, tokens, _ = w.redeem(w.code(func(c *storage.AuthorizationCode) { c.Scopes = []string{"openid", "email"} }))
	status, claims := w.userInfo(tokens.AccessToken)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, map[string]any{"sub": tokenservertest.UserID, "preferred_username": "ulf", "email": "ulf@example.com",
		"email_verified": true}, claims)

	w.i.Directory.Store(tokenservertest.Directory(func(_ *directory.Organization, u *directory.User) {
		if u != nil && u.ID == tokenservertest.UserID {
			u.ID = uuid.NewString()
		}
	}))
	status, _ = w.userInfo(tokens.AccessToken)
	require.Equal(t, http.StatusUnauthorized, status, "a removed user's tokens end")
}

// TestTokensOfAUserWhoGoesEndForGood reads the configuration again without the
// user, or with the user disabled, and then as it was.
func TestTokensOfAUserWhoGoesEndForGood(t *testing.T) {
	for name, change := range map[string]func(*directory.User){
		"disabled": func(u *directory.User) { u.Enabled = false },
		"removed":  func(u *directory.User) { u.ID = "77777777-7777-4777-8777-777777777777" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newPersonWorld(t, webApp)
			_, tokens, _ := w.redeem(w.code(nil))
			status, _ := w.userInfo(tokens.AccessToken)
			require.Equal(t, http.StatusOK, status)
			before := w.i.Directory.Load()
			after := tokenservertest.Directory(func(_ *directory.Organization, u *directory.User) {
				if u != nil && u.ID == tokenservertest.UserID {
					change(u)
				}
			})
			require.NoError(t, w.i.Server.TakeDirectory(t.Context(), after))
			status, _ = w.userInfo(tokens.AccessToken)
			require.Equal(t, http.StatusUnauthorized, status)
			require.NoError(t, w.i.Server.TakeDirectory(t.Context(), before))
			status, _ = w.userInfo(tokens.AccessToken)
			require.Equal(t, http.StatusUnauthorized, status, "the token came back with the user")
		})
	}
}
