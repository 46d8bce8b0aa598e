// SPDX-License-Identifier: Apache-2.0

package authorize

import (
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/audit"
	"connectedapps.dev/operator/internal/tokenserver/authrequest"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/ended"
	"connectedapps.dev/operator/internal/tokenserver/keys"
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
	apps     apps
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
	encryption, err := keys.LoadEncryptionKeys([]string{encryptionKey(t)})
	require.NoError(t, err)
	keyring, err := keys.Open(t.Context(), store, encryption, keys.Options{Now: clock})
	require.NoError(t, err)
	forms := &user.Forms{Cookies: cookies, Origin: "https://id.example.com", Now: clock}
	w.apps, w.endpoint = all, &Endpoint{
		Issuer: issuer, Directory: live,
		Sessions: &user.Sessions{Store: store, Directory: live, Ended: ledger, Cookies: cookies, Now: clock},
		Forms:    forms,
		Consents: &user.Consents{Store: store, Ended: ledger, Now: clock},
		Ended:    ledger,
		Codes:    store, Pages: pages.New(), Audit: &audit.Log{Logger: slog.New(slog.DiscardHandler)},
		Logger: slog.New(slog.DiscardHandler), Now: clock,
		Requests: &authrequest.Requests{Apps: all, Forms: forms, Sealer: keyring, Now: clock,
			Hint: func(raw string) (authrequest.IDTokenHint, error) {
				if subject, ok := strings.CutPrefix(raw, "hint-of-"); ok {
					return authrequest.IDTokenHint{Subject: subject}, nil
				}
				return authrequest.IDTokenHint{}, errors.New("no id token")
			}},
	}
	w.endpoint.Mount(w.mux)
	return w
}

func encryptionKey(t *testing.T) string {
	file := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(file, []byte(base64.StdEncoding.EncodeToString(make([]byte, keys.KeySize))), 0o600))
	return file
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
		"an id token, and no address":        {with("redirect_uri", ""), "which a request with the scope openid must have"},
		"an id token, and an empty address":  {with("redirect_uri", "") + "&redirect_uri=", "which a request with the scope openid must have"},
		"a name of this device":              {public("redirect_uri", "http://localhost:1/cb"), "not one of those registered"},
		"a disabled app":                     {with("client_id", offID, "redirect_uri", "https://off.example.com/"), "is disabled"},
		"a malformed query":                  {"%zz", "client_id is missing"},
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
		"a scope the app lacks":          {with("scope", "profile full"), "invalid_scope", "the app does not have the scope full"},
		"openid, which the app lacks":    {public("scope", "openid full"), "invalid_scope", "the app does not have the scope openid"},
		"a malformed scope":              {with("scope", "a\"b"), "invalid_scope", "scope is malformed"},
		"a scope twice as parameter":     {base + "&scope=profile", "invalid_request", "a parameter occurs more than once"},
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

func TestNobodySignedInGoesToTheSignInPageAndComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u, parameters := location(t, w.get(with("state", "abc")))
	require.Equal(t, pages.PathSignIn, u.Path)
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

	u, parameters := location(t, w.post(pages.PathDecision, form))
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
	_, parameters := location(t, w.post(pages.PathDecision, decision(t, w.get(with("state", "abc")), "refuse")))
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
	require.Contains(t, body(t, w.post(pages.PathDecision, forged)), "Check this page again")

	other := good()
	other.Set("continue", oauth.PathAuthorize+"?"+with("scope", "openid profile view:environment"))
	require.Contains(t, body(t, w.post(pages.PathDecision, other)), "Check this page again", "a form allows what it showed and nothing else")

	elsewhere := good()
	elsewhere.Set("continue", "https://evil.example.com/")
	require.Equal(t, http.StatusBadRequest, w.post(pages.PathDecision, elsewhere).StatusCode)

	unregistered := good()
	unregistered.Set("continue", oauth.PathAuthorize+"?"+with("redirect_uri", "https://evil.example.com/"))
	response := w.post(pages.PathDecision, unregistered)
	require.Equal(t, http.StatusBadRequest, response.StatusCode)
	require.Empty(t, response.Header.Get("Location"))

	r := httptest.NewRequest(http.MethodPost, pages.PathDecision, strings.NewReader(good().Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	require.Equal(t, http.StatusForbidden, w.do(r).StatusCode)

	neither := good()
	neither.Set("decision", "")
	require.Equal(t, http.StatusOK, w.post(pages.PathDecision, neither).StatusCode)

	late := good()
	w.now = w.now.Add(61 * time.Minute)
	require.Contains(t, body(t, w.post(pages.PathDecision, late)), "open for too long")

	signedOut := good()
	w.cookies = nil
	u, _ := location(t, w.post(pages.PathDecision, signedOut))
	require.Equal(t, pages.PathSignIn, u.Path)
}

func TestAnAppDisabledMeanwhileGetsNoCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signIn()
	form := decision(t, w.get(with()), "approve", "profile")
	app, _ := w.apps.App(webID)
	app.Enabled = false
	require.Contains(t, body(t, w.post(pages.PathDecision, form)), "switched off")
}

func TestAnAppOfAnotherOrganizationIsNotForEverybody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signIn()
	response := w.get(with("client_id", foreignID, "scope", "profile", "redirect_uri", "https://other.example.com/"))
	require.Equal(t, http.StatusForbidden, response.StatusCode)
	require.Contains(t, body(t, response), "not open to you")
	app, _ := w.apps.App(foreignID)
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
	u, parameters := location(t, w.post(pages.PathDecision, decision(t, w.get(public()), "approve")))
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
		assert.Equal(t, pages.PathSignIn, u.Path, name)
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
		asking := w.endpoint.Requests.At(oauth.PathAuthorize + "?" + query)
		require.NotNil(t, asking)
		assert.Equal(t, change[1] != "select_account", w.endpoint.Requests.Need(asking, w.session) == authrequest.Password)
		get := func(address string) *http.Response { return w.do(httptest.NewRequest(http.MethodGet, address, nil)) }
		assert.Equal(t, http.StatusOK, get(w.endpoint.Requests.SignedIn(asking, w.session)).StatusCode, change)
		chosen := get(w.endpoint.Requests.Chosen(asking, w.session)).StatusCode
		if change[1] == "select_account" {
			assert.Equal(t, http.StatusOK, chosen)
		} else {
			assert.Equal(t, http.StatusSeeOther, chosen, "choosing an account proves no password")
		}
	}
	asking := w.endpoint.Requests.At(oauth.PathAuthorize + "?" + with("id_token_hint", "hint-of-bob"))
	_, parameters := location(t, w.do(httptest.NewRequest(http.MethodGet, w.endpoint.Requests.SignedIn(asking, w.session), nil)))
	assert.Equal(t, "login_required", parameters.Get("error"), "somebody else signed in than the app expects")
}

func TestAPostIsSealedAndFetched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	form, _ := url.ParseQuery(with("state", "abc", "utm", "x"))
	u, parameters := location(t, w.post(oauth.PathAuthorize, form))
	require.Equal(t, oauth.PathAuthorize, u.Path)
	require.Len(t, parameters, 1)
	sealed := parameters.Get("connectedapps_request")
	opened, err := base64.RawURLEncoding.DecodeString(sealed)
	require.NoError(t, err)
	require.NotContains(t, string(opened), webID, "the request cannot be read in the address")
	w.signIn()
	fetch := func(sealed string) *http.Response {
		return w.get(url.Values{"connectedapps_request": {sealed}}.Encode())
	}
	_, parameters = location(t, w.post(pages.PathDecision, decision(t, fetch(sealed), "approve", "profile")))
	require.Equal(t, "abc", parameters.Get("state"))
	require.NotEmpty(t, parameters.Get("code"))

	for name, changed := range map[string]string{"cut": sealed[:len(sealed)-4], "changed": "B" + sealed[1:], "no base64": "%", "short": "AAAA"} {
		response := fetch(changed)
		assert.Equal(t, http.StatusBadRequest, response.StatusCode, name)
		assert.Contains(t, body(t, response), "incomplete or was changed", name)
	}
	sealer := w.endpoint.Requests.Sealer
	other, err := sealer.Seal([]byte("12345678"+with()), []byte("another purpose"))
	require.NoError(t, err)
	assert.Equal(t, http.StatusBadRequest, fetch(base64.RawURLEncoding.EncodeToString(other)).StatusCode, "sealed for something else")

	w.now = w.now.Add(30 * time.Minute)
	require.Contains(t, body(t, fetch(sealed)), "has expired")
}

// TestAPostWritesNothing: whoever sends requests without end fills no database.
func TestAPostWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endpoint.Codes, w.endpoint.Consents.Store, w.endpoint.Sessions.Store = nil, nil, nil // any use of them is a panic
	form, _ := url.ParseQuery(with("login_hint", strings.Repeat("x", 6000)))
	u, _ := location(t, w.post(oauth.PathAuthorize, form))
	require.Less(t, len(u.String()), 12<<10)
	require.Equal(t, pages.PathSignIn, first(location(t, w.do(httptest.NewRequest(http.MethodGet, u.String(), nil)))).Path)
}

func first(u *url.URL, _ url.Values) *url.URL { return u }

func TestBesideOpenIDAnUnknownScopeIsIgnored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signIn()
	page := w.get(with("scope", "openid profile groups address phone full"))
	form := decision(t, page, "approve", "profile", "full", "groups")
	_, parameters := location(t, w.post(pages.PathDecision, form))
	code, err := w.endpoint.Codes.Code(t.Context(), hash(parameters.Get("code")))
	require.NoError(t, err)
	require.Equal(t, []string{"openid", "profile"}, code.Scopes)
}

func TestParametersOfOthersAndEmptyOnesAreNotLookedAt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signIn()
	for name, query := range map[string]string{
		"an unknown one twice":                base + "&x=1&x=2",
		"several resources":                   base + "&resource=https%3A%2F%2Fa&resource=https%3A%2F%2Fb",
		"an unknown one that is no text":      base + "&x=%ff%00",
		"names that once were ours":           base + "&pending=abc&interaction=def",
		"an empty one of ours beside another": base + "&scope=&state=&client_id=",
		"empty ones that are not supported":   base + "&request=&request_uri=&registration=",
		"an empty prompt, method and age":     base + "&prompt=&code_challenge_method=&max_age=&response_mode=",
	} {
		assert.Equal(t, http.StatusOK, w.get(query).StatusCode, name)
	}
}

func TestASecondWindowAndASecondClickGoOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signIn()
	page := w.get(with())
	form := decision(t, page, "approve", "profile")
	for range 2 {
		_, parameters := location(t, w.post(pages.PathDecision, form))
		require.NotEmpty(t, parameters.Get("code"), "a second click is answered as the first")
	}

	w.signIn()
	_, parameters := location(t, w.post(pages.PathDecision, form))
	require.NotEmpty(t, parameters.Get("code"), "allowed already: signing in again in another window changes nothing")

	wider := decision(t, w.get(with("scope", "openid profile view:environment")), "approve", "view:environment")
	w.signIn()
	again := body(t, w.post(pages.PathDecision, wider))
	require.Contains(t, again, "You have signed in in another window")
	require.NotContains(t, again, "open for too long")
}

func TestTheSignInPageMaySendToTheAppOnlyWhenNothingIsAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, test := range map[string]struct {
		query string
		asks  bool
	}{
		"an app that may be allowed already": {with(), false},
		"one that wants to be asked for":     {with("prompt", "consent"), true},
		"one on the device":                  {public(), true},
		"one that expects somebody":          {public("id_token_hint", "hint-of-bob"), false},
	} {
		f := w.endpoint.Requests.At(oauth.PathAuthorize + "?" + test.query)
		require.NotNil(t, f, name)
		assert.Equal(t, test.asks, f.AsksInAnyCase(), name)
	}
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
		"too large":       {"application/x-www-form-urlencoded", strings.Repeat("a", authrequest.MaxParameters+1), http.StatusRequestEntityTooLarge},
		"malformed":       {"application/x-www-form-urlencoded", "a=%zz", http.StatusBadRequest},
		"empty":           {"application/x-www-form-urlencoded", "", http.StatusBadRequest},
	} {
		r := httptest.NewRequest(http.MethodPost, oauth.PathAuthorize, strings.NewReader(test.body))
		r.Header.Set("Content-Type", test.kind)
		response := w.do(r)
		assert.Equal(t, test.want, response.StatusCode, name)
		assert.Empty(t, response.Header.Get("Location"), name)
	}
}

// HEAD goes where GET goes, as the sign-in page's does, and makes no code: it is
// told what somebody without a session is.
func TestLookingMakesNoCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signIn()
	head := func(query string) *http.Response {
		return w.do(httptest.NewRequest(http.MethodHead, oauth.PathAuthorize+"?"+query, nil))
	}
	response := head(base)
	require.Equal(t, http.StatusSeeOther, response.StatusCode)
	require.True(t, strings.HasPrefix(response.Header.Get("Location"), "/accounts/sign-in?continue="), response.Header.Get("Location"))
	u, parameters := location(t, head(with("prompt", "none", "state", "abc")))
	require.Equal(t, "app.example.com", u.Host)
	require.Equal(t, "login_required", parameters.Get("error"))
	require.Equal(t, http.StatusBadRequest, head("client_id=nobody").StatusCode)
}

func TestAMistakeInAPostIsAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	form, _ := url.ParseQuery(with("prompt", "bad", "state", "abc"))
	u, parameters := location(t, w.post(oauth.PathAuthorize, form))
	require.Equal(t, "app.example.com", u.Host)
	require.Equal(t, "invalid_request", parameters.Get("error"))
}
