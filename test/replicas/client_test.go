// SPDX-License-Identifier: Apache-2.0

package replicas

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
)

// redirectURI is where apps want their codes; nobody listens there.
const redirectURI = "https://app.example.com/callback"

// Apps that tests register.
const (
	machineApp = `{"client_name":"Machine","grant_types":["client_credentials"],"audience":"internal","scopes":["profile"]}`
	webApp     = `{"client_name":"Web","grant_types":["authorization_code","refresh_token"],"audience":"internal",
		"redirect_uris":["` + redirectURI + `"],"scopes":["openid","profile","offline_access"]}`
)

// site is where requests go: one replica, or the balancer.
type site struct {
	t      testing.TB
	url    string
	client *http.Client
}

// at is the replica itself.
func (r *replica) at() site { return site{t: r.i.t, url: r.url(), client: http.DefaultClient} }

// front is the balancer.
func (i *installation) front() site { return site{t: i.t, url: i.url(), client: http.DefaultClient} }

// a, b and c are the replicas themselves.
func (i *installation) a() site { return i.replicas[0].at() }
func (i *installation) b() site { return i.replicas[1].at() }
func (i *installation) c() site { return i.replicas[2].at() }

// answer is a response whose body was read.
type answer struct {
	status int
	header http.Header
	body   string
}

// into decodes the body.
func (a answer) into(t testing.TB, value any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(a.body), value), a.body)
}

// code is the error of an OAuth answer; empty: there is none.
func (a answer) code() string {
	var failure struct{ Error string }
	_ = json.Unmarshal([]byte(a.body), &failure)
	return failure.Error
}

// try sends a request, with a bearer token unless it is empty. The error is that of
// the network: whatever is answered is an answer.
func (s site) try(ctx context.Context, method, path, bearer, contentType, body string) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if bearer != "" {
		request.Header.Set("Authorization", "Bearer "+bearer)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(text)}, err
}

func (s site) send(method, path, bearer, contentType, body string) answer {
	s.t.Helper()
	got, err := s.try(s.t.Context(), method, path, bearer, contentType, body)
	require.NoError(s.t, err)
	return got
}

const formType = "application/x-www-form-urlencoded"

// client is an app and its secret.
type client struct{ id, secret string }

func (i *installation) admin() client { return client{adminID, i.adminSecret} }

// form is a body by which the app authenticates.
func (c client) form(pairs ...string) string {
	values := url.Values{"client_id": {c.id}, "client_secret": {c.secret}}
	for i := 0; i < len(pairs); i += 2 {
		values.Set(pairs[i], pairs[i+1])
	}
	return values.Encode()
}

// post is a request of the app to the token endpoint or one beside it.
func (s site) post(path string, c client, pairs ...string) answer {
	s.t.Helper()
	return s.send(http.MethodPost, path, "", formType, c.form(pairs...))
}

// credentials asks for a token with client_credentials.
func (s site) credentials(c client) answer {
	s.t.Helper()
	return s.post(oauth.PathToken, c, "grant_type", oauth.GrantClientCredentials)
}

// refresh presents a refresh token.
func (s site) refresh(c client, token string) answer {
	s.t.Helper()
	return s.post(oauth.PathToken, c, "grant_type", oauth.GrantRefreshToken, "refresh_token", token)
}

// redeem presents a code.
func (s site) redeem(c client, code string) answer {
	s.t.Helper()
	return s.post(oauth.PathToken, c, "grant_type", oauth.GrantAuthorizationCode, "code", code, "redirect_uri", redirectURI, "code_verifier", verifier)
}

// active is what introspection says of a token to its app.
func (s site) active(c client, token string) bool {
	s.t.Helper()
	got := s.post(oauth.PathIntrospect, c, "token", token)
	require.Equal(s.t, http.StatusOK, got.status, got.body)
	var said struct{ Active bool }
	got.into(s.t, &said)
	return said.Active
}

// tokens are those of an answer, which must have them.
func (s site) tokens(got answer) oauth.TokenResponse {
	s.t.Helper()
	require.Equal(s.t, http.StatusOK, got.status, got.body)
	var tokens oauth.TokenResponse
	got.into(s.t, &tokens)
	return tokens
}

// manage calls the management API as the administrator's client.
func (s site) manage(i *installation, method, path, body string) answer {
	s.t.Helper()
	return s.send(method, path, s.tokens(s.credentials(i.admin())).AccessToken, "application/json", body)
}

// register creates an app.
func (s site) register(i *installation, body string) client {
	s.t.Helper()
	got := s.manage(i, http.MethodPost, oauth.PathConnectedApps, body)
	require.Equal(s.t, http.StatusCreated, got.status, got.body)
	var app oauth.ConnectedApp
	got.into(s.t, &app)
	return client{app.ClientID, app.ClientSecret}
}

// registerWeb creates webApp and waits until every replica has heard of it: the
// pages ask the database for nobody they do not know.
func (i *installation) registerWeb() client {
	i.t.Helper()
	web := i.a().register(i, webApp)
	person := i.newBrowser()
	i.everywhere(func(r *require.Assertions, at site) {
		r.Equal(http.StatusSeeOther, person.get(at, authorization(web)).status)
	})
	return web
}

// everywhere waits until something is so at each of the replicas and returns how
// long that took. What a replica did within its own answer is so at once; what it
// heard from another is promised within a second, on a machine that has time for it.
func (i *installation) everywhere(check func(c *require.Assertions, at site)) time.Duration {
	i.t.Helper()
	begin := time.Now()
	for _, r := range i.replicas {
		testenv.EventuallyWithin(i.t, heard, func(c *require.Assertions) {
			at := r.at()
			at.t = attempt{i.t, c}
			check(c, at)
		})
	}
	return time.Since(begin)
}

// attempt is a test in which what a site demands is demanded of one attempt alone.
type attempt struct {
	testing.TB
	c *require.Assertions
}

func (a attempt) Errorf(format string, args ...any) { a.c.Fail(fmt.Sprintf(format, args...)) }
func (a attempt) FailNow()                          { a.c.FailNow("of an answer") }

// answered asks again while the answer is to come back later, as clients do: whoever
// meets a connection that the database has cut gets that answer.
func (i *installation) answered(ask func() answer) (got answer) {
	i.t.Helper()
	testenv.EventuallyWithin(i.t, patience, func(c *require.Assertions) {
		got = ask()
		c.False(busy(got), got.body)
	})
	return got
}

// heard is how long a change may take to every replica on a machine that is busy
// with other tests: ten polls of the change feed.
const heard = 5 * time.Second

// browser is somebody's, without scripts: cookies, and redirects that are shown.
// Each request may go to another replica, as behind a balancer.
type browser struct {
	i      *installation
	client *http.Client
}

func (i *installation) newBrowser() *browser {
	jar, err := cookiejar.New(nil)
	require.NoError(i.t, err)
	return &browser{i: i, client: &http.Client{
		Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (b *browser) do(at site, method, target string, form url.Values) answer {
	b.i.t.Helper()
	request, err := http.NewRequestWithContext(b.i.t.Context(), method, at.url+strings.TrimPrefix(target, b.i.url()), strings.NewReader(form.Encode()))
	require.NoError(b.i.t, err)
	if method == http.MethodPost {
		request.Header.Set("Content-Type", formType)
		request.Header.Set("Origin", b.i.url())
	}
	response, err := b.client.Do(request)
	require.NoError(b.i.t, err)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	require.NoError(b.i.t, err)
	return answer{response.StatusCode, response.Header, string(text)}
}

func (b *browser) get(at site, target string) answer {
	b.i.t.Helper()
	return b.do(at, http.MethodGet, target, nil)
}

var hiddenField = regexp.MustCompile(`<input type="hidden" name="([a-z_]+)" value="([^"]*)">`)

// fill returns the hidden fields of a page, and further ones.
func fill(page answer, fields ...string) url.Values {
	values := url.Values{}
	for _, match := range hiddenField.FindAllStringSubmatch(page.body, -1) {
		values.Set(match[1], html.UnescapeString(match[2]))
	}
	for i := 0; i < len(fields); i += 2 {
		values.Add(fields[i], fields[i+1])
	}
	return values
}

// verifier and challenge are those of RFC 7636, appendix B.
const (
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

// authorization is the path of an authentication request.
func authorization(c client) string {
	return oauth.PathAuthorize + "?" + url.Values{
		"client_id": {c.id}, "response_type": {"code"}, "scope": {"openid profile offline_access"}, "redirect_uri": {redirectURI},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}.Encode()
}

// signIn signs ulf in: the page from one replica, the form to another.
func (b *browser) signIn(page, form site, target string) (next string) {
	b.i.t.Helper()
	shown := b.get(page, target)
	require.Equal(b.i.t, http.StatusOK, shown.status, shown.body)
	done := b.do(form, http.MethodPost, "/accounts/sign-in", fill(shown, "username", "ulf", "password", password))
	require.Equal(b.i.t, http.StatusSeeOther, done.status, done.body)
	return done.header.Get("Location")
}

// allow answers the consent page, from one replica, at another, and returns the code.
func (b *browser) allow(page, form site, target string) (code string) {
	b.i.t.Helper()
	shown := b.get(page, target)
	if shown.status == http.StatusOK {
		filled := fill(shown, "decision", "approve", "scope", "openid", "scope", "profile", "scope", "offline_access")
		shown = b.do(form, http.MethodPost, "/accounts/authorize-app", filled)
	}
	require.Equal(b.i.t, http.StatusSeeOther, shown.status, shown.body)
	return codeOf(b.i.t, shown)
}

// codeOf is the code that an answer sends to the app.
func codeOf(t testing.TB, got answer) string {
	location, err := url.Parse(got.header.Get("Location"))
	require.NoError(t, err)
	require.NotEmpty(t, location.Query().Get("code"), location.String())
	return location.Query().Get("code")
}

// waitUntil waits for something that this process sees by itself.
func waitUntil(t testing.TB, so func() bool) {
	t.Helper()
	testenv.EventuallyWithin(t, patience, func(c *require.Assertions) { c.True(so()) })
}

// signedIn is a browser in which ulf is signed in.
func (i *installation) signedIn() *browser {
	i.t.Helper()
	b := i.newBrowser()
	b.signIn(i.a(), i.b(), "/accounts/sign-in")
	return b
}

// tokens are those of a new authorization of the app.
func (b *browser) tokens(c client) oauth.TokenResponse {
	b.i.t.Helper()
	return b.i.a().tokens(b.i.a().redeem(c, b.allow(b.i.a(), b.i.b(), authorization(c))))
}
