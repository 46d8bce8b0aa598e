// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// visitor is a browser without a face: cookies, and redirects shown rather than
// followed.
type visitor struct {
	*personWorld
	client *http.Client
}

func newVisitor(w *personWorld) *visitor {
	jar, err := cookiejar.New(nil)
	require.NoError(w.t, err)
	return &visitor{personWorld: w, client: &http.Client{Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// answer is a response whose body was read.
type answer struct {
	*http.Response
	body string
}

func (v *visitor) do(method, path string, form url.Values, header ...string) answer {
	v.t.Helper()
	request, err := http.NewRequestWithContext(v.t.Context(), method, v.i.URL+path, strings.NewReader(form.Encode()))
	require.NoError(v.t, err)
	if method == http.MethodPost {
		request.Header.Set("Content-Type", formType)
		request.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := v.client.Do(request)
	require.NoError(v.t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(v.t, err)
	return answer{response, string(body)}
}

func (v *visitor) get(path string) answer { v.t.Helper(); return v.do(http.MethodGet, path, nil) }

var hiddenField = regexp.MustCompile(`<input type="hidden" name="([a-z_]+)" value="([^"]*)">`)

// form is the first form of a page with its hidden fields, filled in.
func form(page answer, fields ...string) url.Values {
	values := url.Values{}
	for _, match := range hiddenField.FindAllStringSubmatch(page.body, -1) {
		values.Set(match[1], html.UnescapeString(match[2]))
	}
	for i := 0; i < len(fields); i += 2 {
		values.Set(fields[i], fields[i+1])
	}
	return values
}

func (v *visitor) signIn(continueTo string) answer {
	v.t.Helper()
	page := v.get("/accounts/sign-in?" + url.Values{"continue": {continueTo}}.Encode())
	require.Equal(v.t, http.StatusOK, page.StatusCode)
	return v.do(http.MethodPost, "/accounts/sign-in", form(page, "username", "ulf", "password", tokenservertest.Password))
}

func TestSigningInLeadsOnlyToOurOwnPages(t *testing.T) {
	w := newPersonWorld(t, webApp)
	authorize := oauth.PathAuthorize + "?" + url.Values{"client_id": {w.app.ClientID}, "response_type": {"code"}, "scope": {"openid"},
		"redirect_uri": {callback}}.Encode()
	for target, want := range map[string]string{
		"":                                  "/accounts/authorized-apps",
		"/accounts/authorized-apps":         "/accounts/authorized-apps",
		"https://evil.example.com/":         "/accounts/authorized-apps",
		"//evil.example.com/":               "/accounts/authorized-apps",
		"/accounts/authorized-apps@evil":    "/accounts/authorized-apps",
		`/\evil.example.com`:                "/accounts/authorized-apps",
		"javascript:alert(1)":               "/accounts/authorized-apps",
		oauth.PathAuthorize + "/../../evil": "/accounts/authorized-apps",
		authorize:                           authorize,
	} {
		response := newVisitor(w).signIn(target)
		require.Equal(t, http.StatusSeeOther, response.StatusCode, target)
		if target == authorize {
			assert.True(t, strings.HasPrefix(response.Header.Get("Location"), oauth.PathAuthorize+"?"))
			assert.Contains(t, response.Header.Get("Location"), "&connectedapps_interaction=")
			continue
		}
		assert.Equal(t, want, response.Header.Get("Location"), target)
	}
}

func TestTheSignInFormIsRefusedFromElsewhere(t *testing.T) {
	w := newPersonWorld(t, webApp)
	v := newVisitor(w)
	page := v.get("/accounts/sign-in")
	good := form(page, "username", "ulf", "password", tokenservertest.Password)

	cross := v.do(http.MethodPost, "/accounts/sign-in", good, "Sec-Fetch-Site", "cross-site")
	require.Equal(t, http.StatusForbidden, cross.StatusCode)
	require.Contains(t, cross.body, "This form came from somewhere else")
	origin := v.do(http.MethodPost, "/accounts/sign-in", good, "Sec-Fetch-Site", "", "Origin", "https://evil.example.com")
	require.Equal(t, http.StatusForbidden, origin.StatusCode)

	another := newVisitor(w)
	stolen := another.do(http.MethodPost, "/accounts/sign-in", good)
	require.Equal(t, http.StatusUnprocessableEntity, stolen.StatusCode)
	require.Contains(t, stolen.body, "keeps no cookies for this site")
	require.NotContains(t, stolen.body, tokenservertest.Password, "a password never comes back")

	require.NotContains(t, stolen.body, "open for too long")
	another.get("/accounts/sign-in")
	stale := another.do(http.MethodPost, "/accounts/sign-in", good)
	require.Contains(t, stale.body, "signed in or out in another window")

	w.clock.advance(time.Hour)
	late := v.do(http.MethodPost, "/accounts/sign-in", good)
	require.Equal(t, http.StatusUnprocessableEntity, late.StatusCode)
	require.Contains(t, late.body, "open for too long")
	again := v.do(http.MethodPost, "/accounts/sign-in", form(late, "username", "ulf", "password", tokenservertest.Password))
	require.Equal(t, http.StatusSeeOther, again.StatusCode)
}

func TestAnEmptyFieldIsNamed(t *testing.T) {
	v := newVisitor(newPersonWorld(t, webApp))
	page := v.do(http.MethodPost, "/accounts/sign-in", form(v.get("/accounts/sign-in")))
	require.Equal(t, http.StatusUnprocessableEntity, page.StatusCode)
	require.Contains(t, page.body, `<a href="#username">Enter your username</a>`)
	require.Contains(t, page.body, `<a href="#password">Enter your password</a>`)
	require.Contains(t, page.body, `aria-describedby="username-error"`)
	large := v.do(http.MethodPost, "/accounts/sign-in", url.Values{"username": {strings.Repeat("x", 1<<17)}})
	require.Equal(t, http.StatusRequestEntityTooLarge, large.StatusCode)
	require.Contains(t, large.body, "We could not read what was sent")
}

func TestRevokingNeedsTheFormOfTheSession(t *testing.T) {
	w := newPersonWorld(t, webApp)
	v := newVisitor(w)
	require.Equal(t, http.StatusSeeOther, v.get("/accounts/authorized-apps").StatusCode, "nobody is signed in")
	v.signIn("")
	page := v.get("/accounts/authorized-apps")
	require.Equal(t, http.StatusOK, page.StatusCode)
	require.Contains(t, page.body, "No app may act for you")
	forged := v.do(http.MethodPost, "/accounts/authorized-apps/revoke", url.Values{"client_id": {w.app.ClientID}, "form_token": {"x"}})
	require.Equal(t, http.StatusOK, forged.StatusCode)
	require.Contains(t, forged.body, "so nothing was revoked")
	cross := v.do(http.MethodPost, "/accounts/authorized-apps/revoke", form(page), "Sec-Fetch-Site", "cross-site")
	require.Equal(t, http.StatusForbidden, cross.StatusCode)
	nothing := v.do(http.MethodPost, "/accounts/authorized-apps/revoke", form(page, "client_id", "unknown"))
	require.Equal(t, http.StatusSeeOther, nothing.StatusCode, "nothing to revoke is no error")
}

// idToken signs the visitor in and returns an id token of its session.
func (v *visitor) idToken() string {
	v.t.Helper()
	v.signIn("")
	_, tokens, failure := v.redeem(v.code(nil))
	require.Empty(v.t, failure.Error)
	return tokens.IDToken
}

func TestAnAppSignsItsUserOut(t *testing.T) {
	const goodbye = "https://app.example.com/goodbye?x=1"
	w := newPersonWorld(t, strings.Replace(webApp, `"audience"`, `"post_logout_redirect_uris":["`+goodbye+`"],"audience"`, 1))
	other := register(t, w.i, strings.Replace(webApp, "web", "other", 1))
	signedIn := func(v *visitor) bool { return v.get("/accounts/authorized-apps").StatusCode == http.StatusOK }
	type fields map[string]string
	for name, test := range map[string]struct {
		fields   func(hint string) fields
		location string
		page     string
		stays    bool
	}{
		"with its id token": {func(h string) fields { return fields{"id_token_hint": h} }, "", "You are signed out", false},
		"with its id token, to its own address": {func(h string) fields {
			return fields{"id_token_hint": h, "post_logout_redirect_uri": goodbye, "state": "a b"}
		}, goodbye + "&state=a+b", "", false},
		"to an address of nobody": {func(h string) fields {
			return fields{"id_token_hint": h, "post_logout_redirect_uri": "https://evil.example.com/"}
		}, "", "We cannot send you back", false},
		"without proof": {func(string) fields {
			return fields{"client_id": w.app.ClientID, "post_logout_redirect_uri": goodbye}
		}, "", "Do you want to sign out?", true},
		"with a token that is not ours": {func(h string) fields { return fields{"id_token_hint": h[:len(h)-8] + "AAAAAAAA"} }, "", "Do you want to sign out?", true},
		"as another app than its token says": {func(h string) fields {
			return fields{"id_token_hint": h, "client_id": other.ClientID}
		}, "", "another app than client_id", true},
		"with nothing at all": {func(string) fields { return nil }, "", "Do you want to sign out?", true},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVisitor(w)
			query := url.Values{}
			for name, value := range test.fields(v.idToken()) {
				query.Set(name, value)
			}
			response := v.get(oauth.PathEndSession + "?" + query.Encode())
			assert.Equal(t, test.location, response.Header.Get("Location"))
			assert.Contains(t, response.body, test.page)
			assert.Equal(t, test.stays, signedIn(v))

			posted := newVisitor(w).do(http.MethodPost, oauth.PathEndSession, query, "Sec-Fetch-Site", "cross-site")
			require.Equal(t, http.StatusSeeOther, posted.StatusCode)
			assert.Equal(t, oauth.PathEndSession+"?"+query.Encode(), posted.Header.Get("Location"), "a POST is fetched, so that the cookie arrives")
		})
	}
}

func TestSigningOutAfterTheQuestionGoesWhereTheAppAsked(t *testing.T) {
	const goodbye = "https://app.example.com/goodbye"
	w := newPersonWorld(t, strings.Replace(webApp, `"audience"`, `"post_logout_redirect_uris":["`+goodbye+`"],"audience"`, 1))
	v := newVisitor(w)
	v.signIn("")
	question := v.get(oauth.PathEndSession + "?" + url.Values{"client_id": {w.app.ClientID}, "post_logout_redirect_uri": {goodbye}}.Encode())
	require.Contains(t, question.body, "<bdi>web</bdi> has sent you here to sign out")
	require.Contains(t, question.Header.Get("Content-Security-Policy"), "form-action 'self' https://app.example.com;")
	forged := form(question)
	forged.Set("form_token", "x")
	require.Contains(t, v.do(http.MethodPost, "/accounts/sign-out", forged).body, "Do you want to sign out?")
	done := v.do(http.MethodPost, "/accounts/sign-out", form(question))
	require.Equal(t, goodbye, done.Header.Get("Location"))
	require.Equal(t, http.StatusSeeOther, v.get("/accounts/authorized-apps").StatusCode)
	require.Contains(t, v.get("/accounts/sign-out").body, "You are not signed in")
}

func TestEveryPageIsProtected(t *testing.T) {
	w := newPersonWorld(t, webApp)
	v := newVisitor(w)
	v.signIn("")
	authorize := oauth.PathAuthorize + "?" + url.Values{"client_id": {w.app.ClientID}, "response_type": {"code"}, "scope": {"openid"},
		"redirect_uri": {callback}}.Encode()
	for _, path := range []string{"/accounts/authorized-apps", "/accounts/sign-out", authorize, oauth.PathAuthorize, oauth.PathEndSession} {
		page := v.get(path)
		policy := page.Header.Get("Content-Security-Policy")
		assert.True(t, strings.HasPrefix(policy, "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'"), "%s: %s", path, policy)
		assert.Contains(t, policy, "frame-ancestors 'none'; base-uri 'none'")
		assert.Equal(t, "no-store", page.Header.Get("Cache-Control"), path)
		assert.Equal(t, "same-origin", page.Header.Get("Referrer-Policy"), path)
		assert.Equal(t, "nosniff", page.Header.Get("X-Content-Type-Options"), path)
		assert.NotRegexp(t, `(?i)<script|<style|\sstyle=|\son[a-z]+=`, page.body, path)
	}
}

func TestOnTLSTheSessionIsBoundToTheHost(t *testing.T) {
	hash, err := user.HashPassword(tokenservertest.Password)
	require.NoError(t, err)
	v := newVisitor(&personWorld{t: t, i: tokenservertest.Start(t, tokenservertest.WithPasswordHash(hash), tokenservertest.WithTLS())})
	v.client.Transport = v.i.HTTP.Client().Transport
	response := v.signIn("")
	var names []string
	for _, cookie := range response.Cookies() {
		names = append(names, cookie.Name)
		assert.True(t, cookie.Secure)
	}
	assert.Equal(t, []string{"__Host-connectedapps-session", "__Host-connectedapps-browser"}, names)
	assert.NotEmpty(t, response.Header.Get("Strict-Transport-Security"))
}

func TestASecondWindowGoesOnOnceThePersonHasSignedIn(t *testing.T) {
	w := newPersonWorld(t, webApp)
	v := newVisitor(w)
	first, second := v.get("/accounts/sign-in"), v.get("/accounts/sign-in")
	require.Equal(t, http.StatusSeeOther, v.do(http.MethodPost, "/accounts/sign-in", form(first, "username", "ulf", "password", tokenservertest.Password)).StatusCode)
	late := v.do(http.MethodPost, "/accounts/sign-in", form(second, "username", "ULF", "password", "wrong"))
	require.Equal(t, "/accounts/authorized-apps", late.Header.Get("Location"), "signed in already")
	other := v.do(http.MethodPost, "/accounts/sign-in", form(second, "username", "olga", "password", tokenservertest.Password))
	require.Equal(t, http.StatusUnprocessableEntity, other.StatusCode)
	require.Contains(t, other.body, "in another window", "nobody goes on as somebody else than they typed")
}

func TestBehindAProxyThatRewritesHostFormsWork(t *testing.T) {
	w := newPersonWorld(t, webApp, tokenservertest.WithMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			r.Host = "tokenserver.internal:8080"
			next.ServeHTTP(rw, r)
		})
	}))
	for origin, want := range map[string]int{w.i.URL: http.StatusSeeOther, "http://tokenserver.internal:8080": http.StatusForbidden, "": http.StatusSeeOther} {
		v := newVisitor(w)
		fields := form(v.get("/accounts/sign-in"), "username", "ulf", "password", tokenservertest.Password)
		header := []string{"Sec-Fetch-Site", ""}
		if origin != "" {
			header = append(header, "Origin", origin)
		}
		require.Equal(t, want, v.do(http.MethodPost, "/accounts/sign-in", fields, header...).StatusCode, origin)
	}
}

func TestThePasswordIsShownOnRequestAlone(t *testing.T) {
	v := newVisitor(newPersonWorld(t, webApp))
	shown := v.do(http.MethodPost, "/accounts/sign-in", form(v.get("/accounts/sign-in"), "username", "ulf", "password", "half a <secret>", "action", "show"))
	require.Equal(t, http.StatusOK, shown.StatusCode)
	require.Contains(t, shown.body, `name="password" type="text" value="half a &lt;secret&gt;"`)
	require.Equal(t, "no-store", shown.Header.Get("Cache-Control"))
	wrong := v.do(http.MethodPost, "/accounts/sign-in", form(shown, "username", "ulf", "password", "wrong one", "action", "sign-in"))
	require.Contains(t, wrong.body, `name="password" type="text"`, "it stays readable")
	require.NotContains(t, wrong.body, "wrong one")
	hidden := v.do(http.MethodPost, "/accounts/sign-in", form(shown, "username", "ulf", "password", "x y", "action", "hide"))
	require.Contains(t, hidden.body, `name="password" type="password" value="x y"`)
	forged := v.do(http.MethodPost, "/accounts/sign-in", url.Values{"username": {"ulf"}, "password": {"x y"}, "action": {"show"}})
	require.NotContains(t, forged.body, "x y", "nothing typed into another page comes back")
}

func TestAHintEndsTheSessionItNames(t *testing.T) {
	w := newPersonWorld(t, webApp)
	v := newVisitor(w)
	v.signIn("")
	consent := v.get(oauth.PathAuthorize + "?" + url.Values{"client_id": {w.app.ClientID}, "response_type": {"code"}, "scope": {"openid"},
		"redirect_uri": {callback}, "code_challenge": {challenge}, "code_challenge_method": {"S256"}}.Encode())
	answer, err := v.do(http.MethodPost, "/accounts/authorize-app", form(consent, "decision", "approve")).Location()
	require.NoError(t, err)
	_, tokens, _ := w.redeem(answer.Query().Get("code"))
	hint := tokens.IDToken
	back := newVisitor(w).get(oauth.PathEndSession + "?" + url.Values{"id_token_hint": {hint}}.Encode())
	require.Contains(t, back.body, "You are signed out")
	require.Equal(t, http.StatusSeeOther, v.get("/accounts/authorized-apps").StatusCode, "although the cookie did not come along")

	nobody := newVisitor(w).get(oauth.PathEndSession)
	require.Contains(t, nobody.body, "You are not signed in")
	require.NotContains(t, nobody.body, "You are signed out")
	v.signIn("")
	forged := newVisitor(w).get(oauth.PathEndSession + "?" + url.Values{"id_token_hint": {hint[:len(hint)-8] + "AAAAAAAA"}}.Encode())
	require.Contains(t, forged.body, "You are not signed in")
	require.Equal(t, http.StatusOK, v.get("/accounts/authorized-apps").StatusCode)
}

func TestLogoutTakesALoopbackPortAndLeavesParametersOfOthersAlone(t *testing.T) {
	const goodbye = "http://127.0.0.1/goodbye"
	w := newPersonWorld(t, strings.Replace(webApp, `"audience"`, `"post_logout_redirect_uris":["`+goodbye+`"],"audience"`, 1))
	for given, want := range map[string]string{
		"http://127.0.0.1:51004/goodbye": "http://127.0.0.1:51004/goodbye?state=s",
		"http://127.0.0.1:65536/goodbye": "",
	} {
		v := newVisitor(w)
		query := url.Values{"id_token_hint": {v.idToken()}, "post_logout_redirect_uri": {given, ""}, "state": {"s"}, "ui_locales": {"de", "en"}, "client_id": {""}}
		require.Equal(t, want, v.get(oauth.PathEndSession+"?"+query.Encode()).Header.Get("Location"), given)
	}
	twice := newVisitor(w).get(oauth.PathEndSession + "?state=a&state=b")
	require.Equal(t, http.StatusBadRequest, twice.StatusCode)
}
