// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/pages"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// holdings is a server that can be stopped and started again, and everything that
// an app and a browser can hold for a user, issued as it is in life.
type holdings struct {
	*visitor
	folder string
	hash   string

	jwt, opaque, refreshToken string
	// before are the refresh tokens that came before refreshToken, newest last.
	before []string
	// redeemed is the code of all these; codes are further ones, not used yet.
	redeemed string
	codes    []string
	// consented is the app that the consent on record is for.
	consented string
}

func newHoldings(t *testing.T) *holdings {
	t.Helper()
	h := &holdings{folder: t.TempDir(), hash: hashOfPassword(t)}
	h.visitor = newVisitor(&personWorld{t: t, clock: &clock{}})
	h.start(h.people(nil))
	h.app = register(t, h.i, webApp)
	return h
}

func hashOfPassword(t *testing.T) string {
	t.Helper()
	hash, err := user.HashPassword(tokenservertest.Password)
	require.NoError(t, err)
	return hash
}

// people are those of every instance, changed.
func (h *holdings) people(change func(*directory.User)) *directory.Directory {
	return tokenservertest.Directory(func(_ *directory.Organization, u *directory.User) {
		if u == nil {
			return
		}
		u.PasswordHash = h.hash
		if change != nil && u.ID == tokenservertest.UserID {
			change(u)
		}
	})
}

// without leaves an organization out, with all its users.
func (h *holdings) without(orgID string) *directory.Directory {
	d := h.people(nil)
	var organizations []directory.Organization
	for _, o := range d.Organizations() {
		if o.ID != orgID {
			organizations = append(organizations, *o)
		}
	}
	var users []directory.User
	for _, u := range d.Users() {
		if u.OrganizationID != orgID {
			users = append(users, *u)
		}
	}
	return directory.New(organizations, users)
}

func (h *holdings) start(d *directory.Directory, options ...tokenservertest.Option) {
	h.t.Helper()
	options = append([]tokenservertest.Option{
		tokenservertest.WithFolder(h.folder), tokenservertest.WithDirectory(d),
		tokenservertest.WithConfig(func(c *tokenserver.Config) { c.Now = h.clock.Now }),
	}, options...)
	if h.i != nil {
		options = append(options, tokenservertest.WithAddress(strings.TrimPrefix(h.i.URL, "http://")))
	}
	h.i = tokenservertest.Start(h.t, options...)
}

// restart stops the server and starts it with another configuration.
func (h *holdings) restart(d *directory.Directory, options ...tokenservertest.Option) {
	h.t.Helper()
	http.DefaultClient.CloseIdleConnections()
	h.client.CloseIdleConnections()
	h.i.Stop(h.t)
	h.start(d, options...)
}

// backup copies the database of a stopped server; the function it returns puts
// the copy back.
func (h *holdings) backup() (restore func()) {
	h.t.Helper()
	const name = "tokenserver.db"
	h.restart(h.people(nil)) // closing writes everything to the one file
	h.i.Stop(h.t)
	saved, err := os.ReadFile(filepath.Join(h.folder, name))
	require.NoError(h.t, err)
	h.start(h.people(nil))
	return func() {
		h.t.Helper()
		h.client.CloseIdleConnections()
		http.DefaultClient.CloseIdleConnections()
		h.i.Stop(h.t)
		for _, suffix := range []string{"", "-wal", "-shm"} {
			_ = os.Remove(filepath.Join(h.folder, name+suffix))
		}
		require.NoError(h.t, os.WriteFile(filepath.Join(h.folder, name), saved, 0o600))
		h.start(h.people(nil))
	}
}

// issue fills the holdings: through sign-in, Authorize App page, token endpoint
// and two refreshes.
func (h *holdings) issue() {
	h.t.Helper()
	require.Equal(h.t, http.StatusSeeOther, h.signIn("").StatusCode)
	h.redeemed = h.authorize()
	_, first, failure := h.redeem(h.redeemed)
	require.Empty(h.t, failure.Error)
	require.NotEmpty(h.t, first.RefreshToken)
	h.manage(http.MethodPatch, "/"+h.app.ClientID, `{"access_token_format":"opaque"}`, http.StatusOK)
	_, second, _ := h.refresh(first.RefreshToken)
	_, third, _ := h.refresh(second.RefreshToken)
	h.manage(http.MethodPatch, "/"+h.app.ClientID, `{"access_token_format":null}`, http.StatusOK)
	h.jwt, h.opaque, h.refreshToken = first.AccessToken, third.AccessToken, third.RefreshToken
	h.before = []string{first.RefreshToken, second.RefreshToken}
	require.Contains(h.t, h.jwt, ".")
	require.True(h.t, strings.HasPrefix(h.opaque, "cat_"), h.opaque)
	h.codes = []string{h.authorize(), h.authorize()}
	h.consented = h.app.ClientID
	for name, alive := range h.alive() {
		require.True(h.t, alive, "%s before anything ended", name)
	}
}

// authorize gets a code, by the Authorize App page when it is shown.
func (h *holdings) authorize() string {
	h.t.Helper()
	asked := "openid profile offline_access"
	page := h.get(oauth.PathAuthorize + "?" + url.Values{
		"client_id": {h.app.ClientID}, "response_type": {"code"}, "scope": {asked}, "redirect_uri": {callback},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}.Encode())
	if page.StatusCode == http.StatusOK {
		filled := form(page, "decision", "approve")
		filled["scope"] = strings.Fields(asked)
		page = h.do(http.MethodPost, pages.PathDecision, filled)
	}
	require.Equal(h.t, http.StatusSeeOther, page.StatusCode, page.body)
	location, err := url.Parse(page.Header.Get("Location"))
	require.NoError(h.t, err)
	require.NotEmpty(h.t, location.Query().Get("code"), location.String())
	return location.Query().Get("code")
}

// alive tells what is worth something now. A code is used up by being asked.
func (h *holdings) alive() map[string]bool {
	h.t.Helper()
	works := func(token string) bool {
		status, _ := h.userInfo(token)
		require.Contains(h.t, []int{http.StatusOK, http.StatusUnauthorized}, status)
		return status == http.StatusOK
	}
	_, err := h.i.Store.Consent(h.t.Context(), tokenservertest.UserID, h.consented, h.i.OrgID)
	status, _ := post(h.t, h.i.URL+oauth.PathIntrospect, formType, url.Values{"token": {h.refreshToken}}.Encode(),
		basic(h.app.ClientID, h.app.ClientSecret))
	return map[string]bool{
		"access token (JWT)":    works(h.jwt),
		"access token (opaque)": works(h.opaque),
		"refresh token":         status.StatusCode == http.StatusOK && h.refreshes(),
		"browser session":       h.get("/accounts/authorized-apps").StatusCode == http.StatusOK,
		"consent on record":     err == nil,
	}
}

// refreshes tells whether the refresh token works, and keeps its successor.
func (h *holdings) refreshes() bool {
	h.t.Helper()
	status, next, _ := h.refresh(h.refreshToken)
	if status == http.StatusOK {
		h.before = append(h.before, h.refreshToken)
		h.refreshToken = next.RefreshToken
	}
	return status == http.StatusOK
}

// redeems tells whether an unused code works.
func (h *holdings) redeems() bool {
	h.t.Helper()
	code := h.codes[0]
	h.codes = h.codes[1:]
	status, _, _ := h.redeem(code)
	return status == http.StatusOK
}

// manage calls the management API as the administrator's client.
func (h *holdings) manage(method, path, body string, want int) []byte {
	h.t.Helper()
	request, err := http.NewRequestWithContext(h.t.Context(), method, h.i.URL+oauth.PathConnectedApps+path, strings.NewReader(body))
	require.NoError(h.t, err)
	request.Header.Set("Content-Type", "application/json")
	response, err := adminClient(h.t, h.i).Do(request)
	require.NoError(h.t, err)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	require.NoError(h.t, err)
	require.Equal(h.t, want, response.StatusCode, string(text))
	return text
}

// restoreApp creates the deleted app again under its id, with its secret.
func (h *holdings) restoreApp() {
	h.t.Helper()
	secret := h.app.ClientSecret
	body := strings.Replace(webApp, `{`, `{"client_id":"`+h.app.ClientID+`","client_secret":"`+secret+`",`, 1)
	require.NoError(h.t, json.Unmarshal(h.manage(http.MethodPost, "", body, http.StatusCreated), &h.app))
	h.app.ClientSecret = secret
}
