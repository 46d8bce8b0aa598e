// SPDX-License-Identifier: Apache-2.0

package authorize

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/audit"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/ended"
	"connectedapps.dev/operator/internal/tokenserver/pages"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

const (
	issuer    = "https://id.example.com/accounts/api/v2/oauth2"
	webID     = "00000000000000000000000000000001"
	publicID  = "00000000000000000000000000000002"
	foreignID = "00000000000000000000000000000003"
	offID     = "00000000000000000000000000000004"
	machineID = "00000000000000000000000000000005"
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" // RFC 7636 appendix B
)

type apps map[string]*clients.App

func (a apps) App(id string) (*clients.App, bool) { app, ok := a[id]; return app, ok }

func (apps) Standing(app *clients.App) error {
	if !app.Enabled {
		return clients.ErrDisabled
	}
	return nil
}

// world is the endpoint over a real database, with Ada signed in at will.
type world struct {
	t        *testing.T
	now      time.Time
	endpoint *Endpoint
	mux      *http.ServeMux
	cookies  []*http.Cookie
	session  *user.Session
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), mux: http.NewServeMux()}
	clock := func() time.Time { return w.now }
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "db"), w.now)
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	all := apps{}
	code := []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken}
	for _, app := range []storage.App{
		{ClientID: webID, Name: "GitProxy", GrantTypes: code, RedirectURIs: []string{"https://app.example.com/cb?x=1"},
			Scopes: []string{"openid", "profile", "offline_access", "view:environment"}, ExternalID: "c/payments/gitproxy/uid"},
		{ClientID: publicID, Name: "CLI", GrantTypes: code[:1], RedirectURIs: []string{"http://127.0.0.1/cb", "com.example.cli:/cb"},
			Scopes: []string{"full", "offline_access"}, TokenEndpointAuthMethod: oauth.AuthMethodNone},
		{ClientID: foreignID, Name: "Foreign", OrgID: "org-2", GrantTypes: code, RedirectURIs: []string{"https://other.example.com"},
			Scopes: []string{"profile"}},
		{ClientID: offID, Name: "Off", GrantTypes: code, RedirectURIs: []string{"https://off.example.com/"}, Scopes: []string{"profile"}},
		{ClientID: machineID, Name: "Machine", GrantTypes: []string{oauth.GrantClientCredentials}, RedirectURIs: []string{"https://m.example.com/"}},
	} {
		app.Enabled, app.CreatedAt, app.Audience = app.ClientID != offID, w.now, oauth.AudienceInternal
		if app.OrgID == "" {
			app.OrgID = "org-1"
		}
		stored, err := store.CreateApp(t.Context(), app)
		require.NoError(t, err)
		all[app.ClientID] = clients.Prepare(stored)
	}
	live := directory.NewLive(directory.New(
		[]directory.Organization{{ID: "org-1", Name: "Acme"}, {ID: "org-2", Name: "Other"}},
		[]directory.User{{ID: "ada-id", OrganizationID: "org-1", Username: "ada", FirstName: "Ada", LastName: "Lovelace", Enabled: true}}))
	cookies, ledger := &user.Cookies{Secure: true, Key: make([]byte, 32)}, ended.New(store, clock)
	w.endpoint = &Endpoint{
		Issuer: issuer, Apps: all, Directory: live,
		Sessions: &user.Sessions{Store: store, Directory: live, Ended: ledger, Cookies: cookies, Now: clock},
		Forms:    &user.Forms{Cookies: cookies, Now: clock},
		Consents: &user.Consents{Store: store, Ended: ledger, Now: clock},
		Ended:    ledger,
		Codes:    store, Pending: store, Pages: pages.New(), Audit: &audit.Log{Logger: slog.New(slog.DiscardHandler)},
		Logger: slog.New(slog.DiscardHandler), Now: clock,
		Hint: func(raw string) (IDTokenHint, error) {
			if subject, ok := strings.CutPrefix(raw, "hint-of-"); ok {
				return IDTokenHint{Subject: subject}, nil
			}
			return IDTokenHint{}, errors.New("no id token")
		},
	}
	w.endpoint.Mount(w.mux)
	return w
}

func (w *world) signIn() {
	w.t.Helper()
	ada, _ := w.endpoint.Directory.Load().User("ada-id")
	answer := httptest.NewRecorder()
	session, err := w.endpoint.Sessions.Start(answer, httptest.NewRequest(http.MethodGet, "/", nil), ada)
	require.NoError(w.t, err)
	w.session, w.cookies = session, answer.Result().Cookies()[:1]
}

func (w *world) do(r *http.Request) *http.Response {
	for _, cookie := range w.cookies {
		r.AddCookie(cookie)
	}
	answer := httptest.NewRecorder()
	w.mux.ServeHTTP(answer, r)
	return answer.Result()
}

func (w *world) get(query string) *http.Response {
	return w.do(httptest.NewRequest(http.MethodGet, oauth.PathAuthorize+"?"+query, nil))
}

func (w *world) post(path string, form url.Values) *http.Response {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return w.do(r)
}

const base = "response_type=code&client_id=" + webID + "&redirect_uri=https%3A%2F%2Fapp.example.com%2Fcb%3Fx%3D1&scope=openid+profile"

// with is the base request with parameters set or, when empty, left out.
func with(changes ...string) string {
	query, _ := url.ParseQuery(base)
	for i := 0; i < len(changes); i += 2 {
		if query.Set(changes[i], changes[i+1]); changes[i+1] == "" {
			query.Del(changes[i])
		}
	}
	return query.Encode()
}

func public(changes ...string) string {
	return with(append([]string{"client_id", publicID, "scope", "full", "redirect_uri", "http://127.0.0.1:51004/cb",
		"code_challenge", challenge, "code_challenge_method", "S256"}, changes...)...)
}

func location(t *testing.T, response *http.Response) (*url.URL, url.Values) {
	t.Helper()
	require.Equal(t, http.StatusSeeOther, response.StatusCode)
	u, err := response.Location()
	require.NoError(t, err)
	return u, u.Query()
}

func body(t *testing.T, response *http.Response) string {
	t.Helper()
	content, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(content)
}

func TestAMistakeBeforeTheAddressIsTrustedIsAPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, test := range map[string]struct{ query, want string }{
		"no parameters":                      {"", "client_id is missing"},
		"an unknown app":                     {with("client_id", "ffffffffffffffffffffffffffffffff"), "names no registered app"},
		"two apps":                           {base + "&client_id=" + webID, "more than once"},
		"two addresses":                      {base + "&redirect_uri=https%3A%2F%2Fapp.example.com%2Fcb%3Fx%3D1", "more than once"},
		"an address of somebody else":        {with("redirect_uri", "https://evil.example.com/cb?x=1"), "not one of those registered"},
		"the address with another query":     {with("redirect_uri", "https://app.example.com/cb?x=2"), "not one of those registered"},
		"the address with a fragment":        {with("redirect_uri", "https://app.example.com/cb?x=1#f"), "not one of those registered"},
		"a longer path":                      {with("redirect_uri", "https://app.example.com/cb/../evil?x=1"), "not one of those registered"},
		"user information before the host":   {with("redirect_uri", "https://app.example.com@evil.example.com/cb?x=1"), "not one of those"},
		"another scheme":                     {with("redirect_uri", "http://app.example.com/cb?x=1"), "not one of those registered"},
		"a port on an address that has none": {with("redirect_uri", "https://app.example.com:443/cb?x=1"), "not one of those registered"},
		"no address where two are known":     {public("redirect_uri", ""), "has not registered exactly one"},
		"a name of this device":              {public("redirect_uri", "http://localhost:1/cb"), "not one of those registered"},
		"a disabled app":                     {with("client_id", offID, "redirect_uri", "https://off.example.com/"), "is disabled"},
		"a malformed query":                  {"%zz", "the query is malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			response := w.get(test.query)
			require.Equal(t, http.StatusBadRequest, response.StatusCode)
			assert.Empty(t, response.Header.Get("Location"))
			assert.Equal(t, "text/html; charset=utf-8", response.Header.Get("Content-Type"))
			assert.Equal(t, "no-store", response.Header.Get("Cache-Control"))
			page := body(t, response)
			assert.Contains(t, page, test.want)
			assert.Regexp(t, `Reference: <code>[0-9a-f]{10}</code>`, page)
		})
	}
}

func TestAnyOtherMistakeGoesToTheApp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signIn()
	for name, test := range map[string]struct{ query, code, description string }{
		"no response type":               {with("response_type", ""), "invalid_request", "response_type is missing"},
		"implicit":                       {with("response_type", "token"), "unsupported_response_type", "response_type must be code"},
		"hybrid":                         {with("response_type", "code id_token"), "unsupported_response_type", "response_type must be code"},
		"another response mode":          {with("response_mode", "fragment"), "invalid_request", "response_mode must be query"},
		"an app without the grant":       {with("client_id", machineID, "redirect_uri", "https://m.example.com"), "unauthorized_client", ""},
		"a scope the app lacks":          {with("scope", "openid full"), "invalid_scope", "the app does not have the scope full"},
		"a malformed scope":              {with("scope", "a\"b"), "invalid_scope", "scope is malformed"},
		"a scope twice as parameter":     {base + "&scope=profile", "invalid_request", "a parameter occurs more than once"},
		"an unknown parameter twice":     {base + "&x=1&x=2", "invalid_request", "a parameter occurs more than once"},
		"a state twice":                  {base + "&state=a&state=b", "invalid_request", "a parameter occurs more than once"},
		"a byte that is not UTF-8":       {base + "&nonce=%ff", "invalid_request", "a parameter is not valid UTF-8 text"},
		"a NUL":                          {base + "&nonce=%00", "invalid_request", "a parameter is not valid UTF-8 text"},
		"a request object":               {with("request", "eyJ"), "request_not_supported", "the parameter request is not supported"},
		"a request by reference":         {with("request_uri", "https://a"), "request_uri_not_supported", ""},
		"a registration":                 {with("registration", "{}"), "registration_not_supported", ""},
		"a challenge method alone":       {with("code_challenge_method", "S256"), "invalid_request", "code_challenge is missing"},
		"a plain challenge":              {with("code_challenge", challenge, "code_challenge_method", "plain"), "invalid_request", "code_challenge_method must be S256"},
		"a challenge, plain by default":  {with("code_challenge", challenge), "invalid_request", "code_challenge_method must be S256"},
		"a short challenge":              {with("code_challenge", "abc", "code_challenge_method", "S256"), "invalid_request", "code_challenge must be 43 characters of base64url"},
		"a public client without PKCE":   {public("code_challenge", "", "code_challenge_method", ""), "invalid_request", "code_challenge is required for a public client"},
		"an unknown prompt":              {with("prompt", "create"), "invalid_request", "prompt must be none, login, consent or select_account"},
		"prompt none among others":       {with("prompt", "none login"), "invalid_request", "prompt none stands alone"},
		"a max_age that is no number":    {with("max_age", "soon"), "invalid_request", "max_age must be a number of seconds"},
		"a negative max_age":             {with("max_age", "-1"), "invalid_request", "max_age must be a number of seconds"},
		"a nonce without end":            {with("nonce", strings.Repeat("n", 1025)), "invalid_request", "nonce is longer than 1024 bytes"},
		"no consent and nobody to ask":   {with("prompt", "none"), "consent_required", "the user has to allow the access"},
		"a hint at somebody else":        {with("prompt", "none", "id_token_hint", "hint-of-bob"), "login_required", ""},
		"a hint that proves nothing":     {with("prompt", "none", "id_token_hint", "x"), "login_required", ""},
		"offline_access and no refresh":  {public("scope", "offline_access"), "invalid_scope", "no scope is left to ask for"},
		"a user of another organization": {with("client_id", foreignID, "scope", "", "redirect_uri", "https://other.example.com/", "prompt", "none"), "access_denied", ""},
	} {
		t.Run(name, func(t *testing.T) {
			query := test.query
			if !strings.Contains(query, "state=") {
				query += "&state=" + url.QueryEscape("s t+ä&=")
			}
			u, parameters := location(t, w.get(query))
			assert.Equal(t, test.code, parameters.Get("error"))
			assert.Contains(t, parameters.Get("error_description"), test.description)
			assert.Equal(t, issuer, parameters.Get("iss"))
			assert.Empty(t, parameters.Get("code"))
			if name != "a state twice" {
				assert.Equal(t, "s t+ä&=", parameters.Get("state"), "comes back unchanged")
			}
			if u.Host == "app.example.com" {
				assert.Equal(t, "1", parameters.Get("x"), "the address keeps its own query")
			}
		})
	}
}

func TestAnAddressIsMatchedAsRegistered(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		registered, given string
		want              bool
	}{
		"the same":                            {"https://a.example/cb", "https://a.example/cb", true},
		"an empty path is a slash":            {"https://a.example/", "https://a.example", true},
		"a slash is an empty path":            {"https://a.example", "https://a.example/", true},
		"the same with a query":               {"https://a.example?x", "https://a.example/?x", true},
		"a slash after a path is not nothing": {"https://a.example/cb", "https://a.example/cb/", false},
		"letter case":                         {"https://a.example/cb", "https://A.example/cb", false},
		"percent encoding":                    {"https://a.example/cb", "https://a.example/%63b", false},
		"loopback on any port":                {"http://127.0.0.1/cb", "http://127.0.0.1:8080/cb", true},
		"loopback without its port":           {"http://127.0.0.1:1/cb", "http://127.0.0.1/cb", true},
		"loopback by IPv6":                    {"http://[::1]/cb", "http://[::1]:8080/cb", true},
		"loopback, another path":              {"http://127.0.0.1/cb", "http://127.0.0.1:8080/evil", false},
		"loopback, a port that is none":       {"http://127.0.0.1/cb", "http://127.0.0.1:8080@evil.example/cb", false},
		"loopback, an empty port":             {"http://127.0.0.1/cb", "http://127.0.0.1:/cb", false},
		"loopback, a longer host":             {"http://127.0.0.1/cb", "http://127.0.0.1.evil.example/cb", false},
		"loopback over https":                 {"https://127.0.0.1/cb", "https://127.0.0.1:8080/cb", false},
		"localhost has a port":                {"http://localhost/cb", "http://localhost:8080/cb", false},
		"a private scheme":                    {"com.example:/cb", "com.example:/cb", true},
		"a fragment":                          {"https://a.example/cb", "https://a.example/cb#", false},
		"a line end":                          {"https://a.example/cb", "https://a.example/cb\r\nX: y", false},
		"a backslash":                         {"https://a.example/", `https://a.example\`, false},
	} {
		assert.Equal(t, test.want, matches([]string{test.registered}, test.given), name)
	}
}

func FuzzMatches(f *testing.F) {
	f.Add("http://127.0.0.1:99/cb")
	f.Add("https://a.example")
	registered := []string{"https://a.example/", "http://127.0.0.1/cb", "http://[::1]/"}
	f.Fuzz(func(t *testing.T, given string) {
		if !matches(registered, given) {
			return
		}
		u, err := url.Parse(given)
		require.NoError(t, err)
		require.Contains(t, []string{"a.example", "127.0.0.1", "::1"}, u.Hostname())
		require.Nil(t, u.User)
		require.Empty(t, u.Fragment)
	})
}

func TestNobodySignedInGoesToTheSignInPageAndComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u, parameters := location(t, w.get(with("state", "abc")))
	require.Equal(t, PathSignIn, u.Path)
	back := parameters.Get("continue")
	require.True(t, strings.HasPrefix(back, oauth.PathAuthorize+"?"))
	w.signIn()
	response := w.do(httptest.NewRequest(http.MethodGet, back, nil))
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Contains(t, body(t, response), "Authorize GitProxy")

	w.cookies = nil
	_, parameters = location(t, w.get(with("prompt", "none")))
	require.Equal(t, "login_required", parameters.Get("error"))
}

var hidden = regexp.MustCompile(`name="(continue|form_token)" value="([^"]*)"`)

// decision is the form of the Authorize App page, filled in.
func decision(t *testing.T, response *http.Response, decision string, scopes ...string) url.Values {
	t.Helper()
	require.Equal(t, http.StatusOK, response.StatusCode)
	form := url.Values{"decision": {decision}, "scope": scopes}
	for _, match := range hidden.FindAllStringSubmatch(body(t, response), -1) {
		form.Set(match[1], strings.NewReplacer("&amp;", "&", "&#43;", "+").Replace(match[2]))
	}
	return form
}

func TestAuthorizingSendsACodeBoundToTheRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signIn()
	query := with("state", "abc", "nonce", "n-1", "scope", "openid profile offline_access view:environment",
		"code_challenge", challenge, "code_challenge_method", "S256")
	page := w.get(query)
	policy := page.Header.Get("Content-Security-Policy")
	require.Contains(t, policy, "form-action 'self' https://app.example.com;")
	form := decision(t, page, "approve", "offline_access", "view:environment")
	w.now = w.now.Add(5 * time.Minute)

	u, parameters := location(t, w.post(PathDecision, form))
	require.Equal(t, "app.example.com", u.Host)
	require.Equal(t, "abc", parameters.Get("state"))
	require.Equal(t, issuer, parameters.Get("iss"))
	require.Equal(t, "1", parameters.Get("x"))
	code, err := w.endpoint.Codes.Code(t.Context(), hash(parameters.Get("code")))
	require.NoError(t, err)
	assert.NotEmpty(t, code.GrantID)
	code.Hash, code.GrantID = nil, ""
	assert.Equal(t, storage.AuthorizationCode{ClientID: webID, UserID: "ada-id", OrgID: "org-1",
		RedirectURI: "https://app.example.com/cb?x=1", Scopes: []string{"openid", "offline_access", "view:environment"},
		Challenge: challenge, Nonce: "n-1", AuthTime: w.session.AuthTime, SessionID: w.session.ID,
		CreatedAt: w.now, ExpiresAt: w.now.Add(time.Minute)}, code, "profile was cleared, openid cannot be")

	_, parameters = location(t, w.get(with("scope", "openid offline_access")))
	assert.NotEmpty(t, parameters.Get("code"), "what was allowed is not asked again")
	assert.Contains(t, body(t, w.get(with("scope", "openid profile"))), "Authorize GitProxy", "what was refused is")
	assert.Contains(t, body(t, w.get(with("scope", "openid", "prompt", "consent"))), "Authorize GitProxy")
}

func TestRefusingSaysSoToTheApp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signIn()
	_, parameters := location(t, w.post(PathDecision, decision(t, w.get(with("state", "abc")), "refuse")))
	require.Equal(t, "access_denied", parameters.Get("error"))
	require.Equal(t, "abc", parameters.Get("state"))
	require.Equal(t, http.StatusOK, w.get(with("state", "abc")).StatusCode, "and is asked again next time")
}

func TestADecisionCountsOnlyFromOurOwnPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signIn()
	good := func() url.Values { return decision(t, w.get(with()), "approve", "profile") }

	forged := good()
	forged.Set("form_token", "AAAA")
	require.Contains(t, body(t, w.post(PathDecision, forged)), "open for too long")

	other := good()
	other.Set("continue", oauth.PathAuthorize+"?"+with("scope", "openid profile view:environment"))
	require.Contains(t, body(t, w.post(PathDecision, other)), "open for too long", "a form allows what it showed and nothing else")

	elsewhere := good()
	elsewhere.Set("continue", "https://evil.example.com/")
	require.Equal(t, http.StatusBadRequest, w.post(PathDecision, elsewhere).StatusCode)

	unregistered := good()
	unregistered.Set("continue", oauth.PathAuthorize+"?"+with("redirect_uri", "https://evil.example.com/"))
	response := w.post(PathDecision, unregistered)
	require.Equal(t, http.StatusBadRequest, response.StatusCode)
	require.Empty(t, response.Header.Get("Location"))

	r := httptest.NewRequest(http.MethodPost, PathDecision, strings.NewReader(good().Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	require.Equal(t, http.StatusForbidden, w.do(r).StatusCode)

	neither := good()
	neither.Set("decision", "")
	require.Equal(t, http.StatusOK, w.post(PathDecision, neither).StatusCode)

	late := good()
	w.now = w.now.Add(61 * time.Minute)
	require.Contains(t, body(t, w.post(PathDecision, late)), "open for too long")

	signedOut := good()
	w.cookies = nil
	u, _ := location(t, w.post(PathDecision, signedOut))
	require.Equal(t, PathSignIn, u.Path)
}

func TestAnAppDisabledMeanwhileGetsNoCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signIn()
	form := decision(t, w.get(with()), "approve", "profile")
	app, _ := w.endpoint.Apps.App(webID)
	app.Enabled = false
	require.Contains(t, body(t, w.post(PathDecision, form)), "switched off")
}

func TestAnAppOfAnotherOrganizationIsNotForEverybody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signIn()
	response := w.get(with("client_id", foreignID, "scope", "profile", "redirect_uri", "https://other.example.com/"))
	require.Equal(t, http.StatusForbidden, response.StatusCode)
	require.Contains(t, body(t, response), "not open to you")
	app, _ := w.endpoint.Apps.App(foreignID)
	app.Audience = oauth.AudienceEveryone
	response = w.get(with("client_id", foreignID, "scope", "profile", "redirect_uri", "https://other.example.com/"))
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Contains(t, body(t, response), "belongs to another organization than yours")
}

func TestThePageSaysWhoAsksAndFromWhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signIn()
	page := body(t, w.get(with("scope", "openid profile view:environment")))
	for _, text := range []string{"GitProxy", "Acme", "payments", "app.example.com", "Ada Lovelace", "View Environment", "<code>view:environment</code>"} {
		assert.Contains(t, page, text)
	}
	device := body(t, w.get(public()))
	assert.Contains(t, device, "this device (127.0.0.1)")
	assert.Contains(t, device, "runs on a device")
}

func TestAPublicClientOnTheDeviceIsAskedForEveryTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signIn()
	u, parameters := location(t, w.post(PathDecision, decision(t, w.get(public()), "approve")))
	require.Equal(t, "127.0.0.1:51004", u.Host, "on the port it listens at")
	require.NotEmpty(t, parameters.Get("code"))
	require.Equal(t, http.StatusOK, w.get(public()).StatusCode)
}

func TestSignInIsRenewedWhenTheAppAsksForIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signIn()
	w.now = w.now.Add(10 * time.Minute)
	for name, query := range map[string]string{
		"prompt login":              with("prompt", "login"),
		"max_age":                   with("max_age", "599"),
		"max_age zero":              with("max_age", "0"),
		"prompt select_account":     with("prompt", "select_account"),
		"a hint at somebody else":   with("id_token_hint", "hint-of-bob"),
		"a hint of unknown meaning": with("id_token_hint", "x"),
	} {
		u, _ := location(t, w.get(query))
		assert.Equal(t, PathSignIn, u.Path, name)
	}
	for name, query := range map[string]string{
		"young enough": with("max_age", "600"), "the hinted user": with("id_token_hint", "hint-of-ada-id"),
	} {
		assert.Equal(t, http.StatusOK, w.get(query).StatusCode, name)
	}
	_, parameters := location(t, w.get(with("prompt", "none", "max_age", "599")))
	assert.Equal(t, "login_required", parameters.Get("error"))
}

func TestWhatWasJustDoneAtTheSignInPageIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signIn()
	w.now = w.now.Add(time.Hour)
	for _, change := range [][]string{{"prompt", "login"}, {"max_age", "0"}, {"prompt", "select_account"}} {
		query := with(change...)
		asking := w.endpoint.Asking(httptest.NewRequest(http.MethodGet, "/", nil), oauth.PathAuthorize+"?"+query, w.session)
		require.NotNil(t, asking)
		assert.Equal(t, change[1] != "select_account", asking.Reauthenticate)
		get := func(address string) *http.Response { return w.do(httptest.NewRequest(http.MethodGet, address, nil)) }
		assert.Equal(t, http.StatusOK, get(w.endpoint.SignedIn(asking, w.session)).StatusCode, change)
		chosen := get(w.endpoint.Chosen(asking, w.session)).StatusCode
		if change[1] == "select_account" {
			assert.Equal(t, http.StatusOK, chosen)
		} else {
			assert.Equal(t, http.StatusSeeOther, chosen, "choosing an account proves no password")
		}
	}
	asking := w.endpoint.Asking(httptest.NewRequest(http.MethodGet, "/", nil), oauth.PathAuthorize+"?"+with("id_token_hint", "hint-of-bob"), w.session)
	_, parameters := location(t, w.do(httptest.NewRequest(http.MethodGet, w.endpoint.SignedIn(asking, w.session), nil)))
	assert.Equal(t, "login_required", parameters.Get("error"), "somebody else signed in than the app expects")
}

func TestAPostIsStoredAndFetched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	form, _ := url.ParseQuery(with("state", "abc"))
	u, parameters := location(t, w.post(oauth.PathAuthorize, form))
	require.Equal(t, oauth.PathAuthorize, u.Path)
	require.Len(t, parameters, 1)
	require.Len(t, parameters.Get("pending"), 43)
	w.signIn()
	page := w.do(httptest.NewRequest(http.MethodGet, u.String(), nil))
	_, parameters = location(t, w.post(PathDecision, decision(t, page, "approve", "profile")))
	require.Equal(t, "abc", parameters.Get("state"))
	require.NotEmpty(t, parameters.Get("code"))

	w.now = w.now.Add(pendingLifetime)
	require.Contains(t, body(t, w.do(httptest.NewRequest(http.MethodGet, u.String(), nil))), "has expired")
	require.Contains(t, body(t, w.get("pending=unknown")), "has expired")
}

func TestAPostThatIsNoFormIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, test := range map[string]struct {
		kind, body string
		want       int
	}{
		"JSON":            {"application/json", `{}`, http.StatusUnsupportedMediaType},
		"no content type": {"", "a=b", http.StatusUnsupportedMediaType},
		"too large":       {"application/x-www-form-urlencoded", strings.Repeat("a", maxParameters+1), http.StatusRequestEntityTooLarge},
		"malformed":       {"application/x-www-form-urlencoded", "a=%zz", http.StatusBadRequest},
		"empty":           {"application/x-www-form-urlencoded", "", http.StatusBadRequest},
	} {
		r := httptest.NewRequest(http.MethodPost, oauth.PathAuthorize, strings.NewReader(test.body))
		r.Header.Set("Content-Type", test.kind)
		response := w.do(r)
		assert.Equal(t, test.want, response.StatusCode, name)
		assert.Empty(t, response.Header.Get("Location"), name)
	}
	response := w.do(httptest.NewRequest(http.MethodHead, oauth.PathAuthorize+"?"+base, nil))
	assert.Equal(t, http.StatusMethodNotAllowed, response.StatusCode, "HEAD makes no code")
}

func TestAMistakeInAPostIsAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	form, _ := url.ParseQuery(with("prompt", "bad", "state", "abc"))
	u, parameters := location(t, w.post(oauth.PathAuthorize, form))
	require.Equal(t, "app.example.com", u.Host)
	require.Equal(t, "invalid_request", parameters.Get("error"))
}

func FuzzParse(f *testing.F) {
	f.Add(base)
	f.Add(public("prompt", "login", "max_age", "0", "nonce", "n"))
	f.Add("client_id=%00&client_id")
	all := apps{webID: clients.Prepare(storage.App{ClientID: webID, Enabled: true, GrantTypes: []string{oauth.GrantAuthorizationCode},
		RedirectURIs: []string{"https://app.example.com/cb?x=1"}, Scopes: []string{"openid", "profile"}})}
	f.Fuzz(func(t *testing.T, query string) {
		parameters, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		r, refused := parse(all, parameters)
		if refused == nil || refused.kind == "" {
			require.True(t, matches(r.app.RedirectURIs, r.redirectURI), "only ever a registered address")
		}
		if refused == nil {
			require.Subset(t, r.app.Scopes, r.scopes)
			require.LessOrEqual(t, len(r.nonce), maxNonce)
		}
	})
}
