// SPDX-License-Identifier: Apache-2.0

package browser

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// TestCodeFlow is the life of an authorization: sign-in, consent, tokens, the
// next visit, revocation, sign-out.
func TestCodeFlow(t *testing.T) {
	server := startServer(t)
	app := newRelyingParty(t, server, nil)
	b := newTab(t, desktopLight)

	before := time.Now().Add(-time.Second)
	verifier := app.start(b)
	require.Contains(t, b.text(), "to continue to GitProxy")
	b.requireAccessible()
	signIn(b)

	page := b.text()
	for _, text := range []string{"Authorize GitProxy", "Main", "payments", "Ulf User", "Returns you to"} {
		require.Contains(t, page, text)
	}
	b.requireAccessible()
	b.run(chromedp.Click(chromedp.CSS(`input[value="email"]`)))
	b.press("Authorize")
	require.Contains(t, b.text(), "Back at the app")

	token := app.exchange(verifier)
	require.Equal(t, "openid profile offline_access", token.Extra("scope"), "email was refused")
	id := app.verify(token)
	require.Equal(t, tokenservertest.UserID, id.Subject)
	require.Equal(t, "nonce-1", id.Nonce)
	var claims map[string]any
	require.NoError(t, id.Claims(&claims))
	require.Equal(t, app.app.ClientID, claims["azp"])
	require.Equal(t, "ulf", claims["preferred_username"])
	require.Equal(t, "Ulf User", claims["name"])
	require.NotContains(t, claims, "email")
	require.NotEmpty(t, claims["sid"])
	authTime := time.Unix(int64(claims["auth_time"].(float64)), 0)
	require.WithinRange(t, authTime, before, time.Now())

	info, err := app.provider.UserInfo(t.Context(), oauth2.StaticTokenSource(token))
	require.NoError(t, err)
	require.Equal(t, tokenservertest.UserID, info.Subject)
	require.Empty(t, info.Email)

	refreshed := refresh(t, app, token)
	require.NotEqual(t, token.RefreshToken, refreshed.RefreshToken, "refresh tokens rotate")
	again := app.verify(refreshed)
	require.Equal(t, id.Subject, again.Subject)
	require.Empty(t, again.Nonce)

	// What was allowed is not asked again.
	app.config.Scopes = []string{"openid", "profile"}
	verifier = app.start(b)
	require.Contains(t, b.text(), "Back at the app")
	app.verify(app.exchange(verifier))

	b.open(server.URL + "/accounts/authorized-apps")
	require.Contains(t, b.text(), "GitProxy")
	b.requireAccessible()
	b.press("Revoke")
	require.Contains(t, b.text(), "The access of GitProxy was revoked")
	require.Contains(t, b.text(), "No app may act for you")
	_, err = app.provider.UserInfo(t.Context(), oauth2.StaticTokenSource(refreshed))
	require.Error(t, err, "its access tokens no longer work")
	_, err = app.config.TokenSource(t.Context(), &oauth2.Token{RefreshToken: refreshed.RefreshToken}).Token()
	require.ErrorContains(t, err, "invalid_grant")

	raw, _ := refreshed.Extra("id_token").(string)
	b.open(server.URL + oauth.PathEndSession + "?" + url.Values{"id_token_hint": {raw},
		"post_logout_redirect_uri": {app.url + "/goodbye"}, "state": {"bye"}}.Encode())
	require.Contains(t, b.text(), "Goodbye, state bye")
	app.start(b)
	require.Contains(t, b.url(), "/accounts/sign-in", "the session has ended")
}

func refresh(t *testing.T, app *relyingParty, token *oauth2.Token) *oauth2.Token {
	t.Helper()
	refreshed, err := app.config.TokenSource(t.Context(), &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
	require.NoError(t, err)
	return refreshed
}

func TestRefusingGoesBackToTheApp(t *testing.T) {
	app := newRelyingParty(t, startServer(t), nil)
	b := newTab(t, phoneDark)
	app.start(b)
	signIn(b)
	b.press("Refuse")
	require.Contains(t, b.text(), "Back at the app")
	answer := app.answer()
	require.Equal(t, "access_denied", answer.Get("error"))
	require.Equal(t, "state-1", answer.Get("state"))
}

func TestAPublicClientOnTheDevice(t *testing.T) {
	app := newRelyingParty(t, startServer(t), func(a *oauth.ConnectedApp) {
		a.RedirectURIs = []string{"http://127.0.0.1/callback"}
		a.TokenEndpointAuthMethod = oauth.AuthMethodNone
	})
	// The app listens on a port that it did not register.
	_, port, _ := cutURL(app.url)
	app.config.RedirectURL = "http://127.0.0.1:" + port + "/callback"
	app.config.Endpoint.AuthStyle = oauth2.AuthStyleInParams
	b := newTab(t, desktopDark)
	verifier := app.start(b)
	signIn(b)
	require.Contains(t, b.text(), "This app runs on a device")
	b.requireAccessible()
	b.press("Authorize")
	require.Contains(t, b.text(), "Back at the app")
	token := app.exchange(verifier)
	app.verify(refresh(t, app, token))
	app.start(b)
	require.Contains(t, b.text(), "Authorize GitProxy", "any program on the device could have asked")
}

func cutURL(raw string) (host, port string, err error) {
	u, err := url.Parse(raw)
	return u.Hostname(), u.Port(), err
}

// TestPostFromAnotherSite sends the request as a form from the app's site: the
// session's cookie does not come along, and yet nobody has to sign in again.
func TestPostFromAnotherSite(t *testing.T) {
	app := newRelyingParty(t, startServer(t), nil)
	b := newTab(t, desktopLight)
	app.start(b)
	signIn(b)
	b.press("Authorize")
	app.answer()

	app.form = url.Values{"client_id": {app.app.ClientID}, "response_type": {"code"}, "redirect_uri": {app.config.RedirectURL},
		"scope": {"openid"}, "state": {"state-1"}}
	b.open(app.url + "/post")
	b.press("Sign in with Connected Apps")
	require.Contains(t, b.text(), "Back at the app")
	app.verify(app.exchange(""))
}

func TestWrongPasswordIsSaidAtItsField(t *testing.T) {
	app := newRelyingParty(t, startServer(t), nil)
	b := newTab(t, phoneLight)
	app.start(b)
	b.fill("username", "ulf")
	b.fill("password", "wrong")
	b.press("Sign in")
	b.forget() // the browser notes the status 422
	require.Contains(t, b.text(), "The username or the password is wrong")
	b.requireAccessible()
	assert.Equal(t, "Error: Sign in · Connected Apps", evaluate[string](b, `document.title`))
	assert.Equal(t, "alert", evaluate[string](b, `document.activeElement.getAttribute("role")`), "focus is on the summary")
	assert.Equal(t, "ulf", evaluate[string](b, `document.getElementById("username").value`))
	assert.Empty(t, evaluate[string](b, `document.getElementById("password").value`))
	b.run(chromedp.Click(chromedp.CSS(`.alert a`)))
	assert.Equal(t, "password", evaluate[string](b, `document.activeElement.id`), "the summary leads to the field")

	b.fill("password", tokenservertest.Password)
	b.press("Sign in")
	require.Contains(t, b.text(), "Authorize GitProxy")
}

func TestTenWrongPasswordsCloseTheDoorForAWhile(t *testing.T) {
	server := startServer(t)
	b := newTab(t, desktopLight)
	b.open(server.URL + "/accounts/sign-in")
	for range 11 {
		b.fill("username", "ulf")
		b.fill("password", "wrong")
		b.press("Sign in")
	}
	b.forget()
	require.Contains(t, b.text(), "Too many failed attempts. Try again in 10 minutes.")
	b.requireAccessible()
}

func TestSignInAgainWhenTheAppAsksForIt(t *testing.T) {
	app := newRelyingParty(t, startServer(t), nil)
	b := newTab(t, desktopDark)
	app.start(b)
	signIn(b)
	b.press("Authorize")
	app.answer()

	app.start(b, oauth2.SetAuthURLParam("prompt", "login"))
	require.Contains(t, b.text(), "asks you to confirm who you are")
	require.Equal(t, "ulf", evaluate[string](b, `document.getElementById("username").value`))
	b.requireAccessible()
	b.fill("password", tokenservertest.Password)
	b.press("Sign in")
	require.Contains(t, b.text(), "Back at the app")
	require.NotEmpty(t, app.answer().Get("code"))

	app.start(b, oauth2.SetAuthURLParam("prompt", "select_account"))
	require.Contains(t, b.text(), "Choose an account")
	b.requireAccessible()
	b.run(chromedp.Click(chromedp.CSS(`button.account`)), chromedp.WaitVisible(`//h1[text()="Back at the app"]`))
	require.NotEmpty(t, app.answer().Get("code"))
}

func TestAnAppOfAnotherOrganizationOffersAnotherAccount(t *testing.T) {
	app := newRelyingParty(t, startServer(t), nil)
	b := newTab(t, desktopLight)
	app.start(b)
	b.fill("username", "otto")
	b.fill("password", tokenservertest.Password)
	b.press("Sign in")
	b.forget() // the browser notes the status 403
	require.Contains(t, b.text(), "This app is not open to you")
	b.requireAccessible()
	b.press("Use another account")
	signIn(b)
	require.Contains(t, b.text(), "Authorize GitProxy")
}

func TestSignOutAsksFirst(t *testing.T) {
	server := startServer(t)
	b := newTab(t, phoneLight)
	b.open(server.URL + "/accounts/login")
	signIn(b)
	require.Contains(t, b.text(), "Authorized apps")
	b.open(server.URL + oauth.PathEndSession)
	require.Contains(t, b.text(), "Do you want to sign out?")
	b.requireAccessible()
	b.press("Stay signed in")
	require.Contains(t, b.text(), "Ulf User")
	b.press("Sign out")
	require.Contains(t, b.text(), "You are signed out")
	b.requireAccessible()
	b.press("Sign in again")
	require.Contains(t, b.url(), "/accounts/sign-in")
}

func TestAnUnregisteredAddressIsNeverFollowed(t *testing.T) {
	app := newRelyingParty(t, startServer(t), nil)
	b := newTab(t, desktopLight)
	app.config.RedirectURL = app.url + "/elsewhere"
	app.start(b)
	b.forget() // the browser notes the status 400
	require.Contains(t, b.text(), "This link is not safe to follow")
	require.Contains(t, b.url(), oauth.PathAuthorize)
	b.requireAccessible()
}

// TestPagesWorkWithTheKeyboardAlone signs in without touching a mouse.
func TestPagesWorkWithTheKeyboardAlone(t *testing.T) {
	app := newRelyingParty(t, startServer(t), nil)
	b := newTab(t, desktopLight)
	app.start(b)
	// A browser moves the focus when it first draws the page: nobody has to touch anything until then.
	b.run(chromedp.WaitVisible(chromedp.CSS("#username:focus")))
	b.run(chromedp.KeyEvent("ulf\t" + tokenservertest.Password + "\r"))
	b.run(chromedp.WaitVisible(`//h1[normalize-space()="Authorize GitProxy"]`))
	require.Empty(t, evaluate[[]string](b, `[...document.querySelectorAll("a,button,input:not([type=hidden])")].filter(e => e.tabIndex < 0).map(e => e.outerHTML)`))
	b.run(chromedp.KeyEvent("\t"))
	require.Equal(t, "#content", evaluate[string](b, `document.activeElement.getAttribute("href")`), "the first stop skips to the content")
}

// TestAnAppInTheBrowserRedeemsItsOwnCode has a page of the app's own site call
// the token endpoint by fetch, as a single-page application does.
func TestAnAppInTheBrowserRedeemsItsOwnCode(t *testing.T) {
	app := newRelyingParty(t, startServer(t), func(a *oauth.ConnectedApp) { a.TokenEndpointAuthMethod = oauth.AuthMethodNone })
	b := newTab(t, desktopLight)
	verifier := app.start(b)
	signIn(b)
	b.press("Authorize")
	form := url.Values{"grant_type": {"authorization_code"}, "code": {app.answer().Get("code")}, "redirect_uri": {app.config.RedirectURL},
		"client_id": {app.app.ClientID}, "code_verifier": {verifier}}
	tokens := evaluate[map[string]any](b, `fetch("`+app.config.Endpoint.TokenURL+`", {method: "POST", body: new URLSearchParams("`+
		form.Encode()+`")}).then(r => r.json())`)
	require.NotEmpty(t, tokens["access_token"], tokens)
	claims := evaluate[map[string]any](b, `fetch("`+app.provider.UserInfoEndpoint()+`", {headers: {Authorization: "Bearer `+
		tokens["access_token"].(string)+`"}}).then(r => r.json())`)
	require.Equal(t, "ulf", claims["preferred_username"])
}

// TestTheBrowserKeepsTheHostCookiesOfTLS signs in over https: a browser drops
// cookies whose __Host- prefix it does not believe.
func TestTheBrowserKeepsTheHostCookiesOfTLS(t *testing.T) {
	server := startServer(t, tokenservertest.WithTLS())
	b := newTab(t, desktopLight)
	b.open(server.URL + "/accounts/authorized-apps")
	signIn(b)
	require.Contains(t, b.text(), "No app may act for you")
	require.Empty(t, evaluate[string](b, `document.cookie`), "out of reach of scripts")
	b.press("Sign out")
	require.Contains(t, b.text(), "You are signed out")
}

// TestOurFormsSayWhereTheyComeFrom: under no-referrer a browser sends "Origin:
// null" with a form, which no server can tell from a stranger's. Other sites
// learn no address of ours all the same.
func TestOurFormsSayWhereTheyComeFrom(t *testing.T) {
	var mu sync.Mutex
	origins := []string{}
	server := startServer(t, tokenservertest.WithMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/accounts/") && !strings.HasPrefix(r.URL.Path, "/accounts/api/") {
				mu.Lock()
				origins = append(origins, r.Header.Get("Origin"))
				mu.Unlock()
				r.Header.Del("Sec-Fetch-Site") // as a browser that has no Fetch Metadata
			}
			next.ServeHTTP(w, r)
		})
	}))
	app := newRelyingParty(t, server, nil)
	b := newTab(t, desktopLight)
	app.start(b)
	signIn(b)
	b.press("Authorize")
	require.Contains(t, b.text(), "Back at the app")
	require.NotEmpty(t, app.answer().Get("code"))
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, []string{server.URL, server.URL}, origins)
	require.Empty(t, evaluate[string](b, `document.referrer`), "no address of ours reaches the app")
}

func TestThePasswordCanBeShown(t *testing.T) {
	app := newRelyingParty(t, startServer(t), nil)
	b := newTab(t, phoneLight)
	app.start(b)
	b.fill("username", "ulf")
	b.fill("password", "correct horse")
	b.press("Show password")
	require.Equal(t, "text", evaluate[string](b, `document.getElementById("password").type`))
	require.Equal(t, "correct horse", evaluate[string](b, `document.getElementById("password").value`))
	require.Equal(t, "password", evaluate[string](b, `document.activeElement.id`), "typing goes on where it was")
	b.requireAccessible()
	b.fill("password", tokenservertest.Password)
	b.run(chromedp.KeyEvent("\r"), chromedp.WaitVisible(`//h1[normalize-space()="Authorize GitProxy"]`))
}
