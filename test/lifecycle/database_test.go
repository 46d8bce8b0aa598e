// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/testenv/postgresql"
)

// TestTheDatabaseOfTheReleaseBeforeServesBoth: its apps, people, consents and chains
// of refresh tokens go on with the next release, and with the release before after
// that, which is the way back.
func TestTheDatabaseOfTheReleaseBeforeServesBoth(t *testing.T) {
	from, to := theReleaseBefore(t, "default"), thisRelease(t, "default")
	t.Run("SQLite", func(t *testing.T) { servesBoth(newSite(t, from), from, to) })
	t.Run("PostgreSQL", func(t *testing.T) {
		s := newSite(t, from)
		s.onPostgreSQL()
		servesBoth(s, from, to)
	})
}

func servesBoth(s *site, from, to *release) {
	s.run(from)
	job := s.clientCredentials()
	refresh := s.signIn()
	admin := s.admin()
	apps := s.get("/accounts/api/connectedApplications", admin)

	for _, next := range []*release{to, from, to} {
		s.run(next)
		require.JSONEq(s, apps, s.get("/accounts/api/connectedApplications", s.admin()), "the same apps")
		s.get("/accounts/api/me", admin)
		require.Contains(s, s.introspect(job), `"active":true`, "a token of before is good")
		s.clientCredentials()
		former := refresh
		refresh = s.token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "client_id": {"portal"}, "client_secret": {appSecret}}).RefreshToken
		require.NotEqual(s, former, refresh, "the chain goes on")
		require.Empty(s, s.asks(), "the consent counts")
	}
}

// site is a token server outside of any cluster.
type site struct {
	*testing.T
	folder, url, operations, password string
	server                            *process
	browser                           *http.Client
}

const (
	portalCallback = "https://portal.example.com/callback"
	appSecret      = "cas_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
)

// newSite makes the configuration with a release of its own, and two apps.
func newSite(t *testing.T, r *release) *site {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	s := &site{T: t, folder: t.TempDir(), url: "http://" + testenv.FreeAddress(t), operations: testenv.FreeAddress(t)}
	s.browser = &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	printed := command(t, s.folder, r.tokenserver, "config", "init", "--public-url="+s.url, s.folder)
	match := regexp.MustCompile(`password: (\S+)`).FindStringSubmatch(printed)
	require.NotNil(t, match, printed)
	s.password = match[1]
	require.NoError(t, os.WriteFile(filepath.Join(s.folder, "app-secret"), []byte(appSecret), 0o600))
	file, err := os.OpenFile(filepath.Join(s.folder, "tokenserver.yaml"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	_, err = file.WriteString(`
apps:
- {clientID: portal, clientName: Portal, grantTypes: [authorization_code, refresh_token], redirectURIs: ["` + portalCallback + `"],
   scopes: [openid, profile, offline_access], clientSecretFile: app-secret}
- {clientID: job, clientName: Job, grantTypes: [client_credentials], clientSecretFile: app-secret, scopes: [profile]}
`)
	require.NoError(t, err)
	return s
}

// onPostgreSQL has it keep its data in a database of the shared server.
func (s *site) onPostgreSQL() {
	s.Helper()
	server := postgresql.Shared(s)
	name, _ := server.Database(s, "")
	require.NoError(s, os.WriteFile(filepath.Join(s.folder, "database-password"), []byte(postgresql.Password+"\n"), 0o600))
	path := filepath.Join(s.folder, "tokenserver.yaml")
	content, err := os.ReadFile(path)
	require.NoError(s, err)
	const sqlite = "sqlite:\n    path: tokenserver.db\n"
	require.Contains(s, string(content), sqlite)
	require.NoError(s, os.WriteFile(path, []byte(strings.Replace(string(content), sqlite, fmt.Sprintf(
		`postgresql: {url: "postgresql://%s@127.0.0.1:%d/%s", passwordFile: database-password}`+"\n", postgresql.User, server.Port, name), 1)), 0o600))
}

// run puts the server of a release in place of the one that runs.
func (s *site) run(r *release) {
	s.Helper()
	if s.server != nil {
		s.server.stop(s.T)
	}
	s.server = start(s.T, nil, r.tokenserver, "serve", "--config="+filepath.Join(s.folder, "tokenserver.yaml"), "--operations-listen="+s.operations)
	testenv.EventuallyWithin(s.T, patience, func(c *require.Assertions) {
		response, err := http.Get("http://" + s.operations + "/readyz")
		c.NoError(err, "%s", s.server)
		_ = response.Body.Close()
		c.Equal(http.StatusOK, response.StatusCode)
	})
}

// do sends a request as a browser does, with its cookies.
func (s *site) do(method, address string, form url.Values, header ...string) (*http.Response, string) {
	s.Helper()
	if strings.HasPrefix(address, "/") {
		address = s.url + address
	}
	request, err := http.NewRequestWithContext(s.Context(), method, address, strings.NewReader(form.Encode()))
	require.NoError(s, err)
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for n := 0; n < len(header); n += 2 {
		request.Header.Set(header[n], header[n+1])
	}
	response, err := s.browser.Do(request)
	require.NoError(s, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(s, err)
	return response, string(body)
}

func (s *site) get(path, token string) string {
	s.Helper()
	response, body := s.do(http.MethodGet, path, nil, "Authorization", "Bearer "+token)
	require.Equal(s, http.StatusOK, response.StatusCode, body)
	return body
}

func (s *site) token(form url.Values) oauth.TokenResponse {
	s.Helper()
	response, body := s.do(http.MethodPost, oauth.PathToken, form)
	require.Equal(s, http.StatusOK, response.StatusCode, body)
	var tokens oauth.TokenResponse
	require.NoError(s, json.Unmarshal([]byte(body), &tokens))
	return tokens
}

func (s *site) clientCredentials() string {
	s.Helper()
	return s.token(url.Values{"grant_type": {"client_credentials"}, "client_id": {"job"}, "client_secret": {appSecret}}).AccessToken
}

// admin is a token that may manage apps.
func (s *site) admin() string {
	s.Helper()
	secret, err := os.ReadFile(filepath.Join(s.folder, "client-secret"))
	require.NoError(s, err)
	return s.token(url.Values{"grant_type": {"client_credentials"}, "client_id": {"connectedapps-manager"}, "client_secret": {string(secret)}}).AccessToken
}

func (s *site) introspect(token string) string {
	s.Helper()
	response, body := s.do(http.MethodPost, oauth.PathIntrospect, url.Values{"token": {token}, "client_id": {"job"}, "client_secret": {appSecret}})
	require.Equal(s, http.StatusOK, response.StatusCode, body)
	return body
}

const verifier = "0123456789-0123456789-0123456789-0123456789"

// authorize asks for a code as the portal does.
func (s *site) authorize() (*http.Response, string) {
	s.Helper()
	challenge := sha256.Sum256([]byte(verifier))
	return s.do(http.MethodGet, oauth.PathAuthorize+"?"+url.Values{
		"client_id": {"portal"}, "response_type": {"code"}, "redirect_uri": {portalCallback}, "scope": {"openid profile offline_access"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}.Encode(), nil)
}

// asks is the page that the signed-in person sees before the app gets its code;
// empty when there is none.
func (s *site) asks() string {
	s.Helper()
	response, body := s.authorize()
	if strings.HasPrefix(response.Header.Get("Location"), portalCallback+"?") {
		return ""
	}
	return body + response.Header.Get("Location")
}

var hiddenField = regexp.MustCompile(`<input type="hidden" name="([a-z_]+)" value="([^"]*)">`)

// fill is the form of a page with its hidden fields.
func fill(page string, fields url.Values) url.Values {
	for _, match := range hiddenField.FindAllStringSubmatch(page, -1) {
		fields.Add(match[1], html.UnescapeString(match[2]))
	}
	return fields
}

// signIn signs the person in, agrees, and returns the refresh token.
func (s *site) signIn() string {
	s.Helper()
	response, _ := s.authorize()
	response, page := s.do(http.MethodGet, response.Header.Get("Location"), nil)
	require.Equal(s, http.StatusOK, response.StatusCode, page)
	response, body := s.do(http.MethodPost, "/accounts/sign-in", fill(page, url.Values{"username": {"admin"}, "password": {s.password}}))
	require.Equal(s, http.StatusSeeOther, response.StatusCode, body)
	_, page = s.do(http.MethodGet, response.Header.Get("Location"), nil)
	action := regexp.MustCompile(`action="([^"]*)"`).FindStringSubmatch(page)
	require.NotNil(s, action, page)
	response, body = s.do(http.MethodPost, html.UnescapeString(action[1]), fill(page, url.Values{
		"decision": {"approve"}, "scope": {"openid", "profile", "offline_access"},
	}))
	require.Equal(s, http.StatusSeeOther, response.StatusCode, body)
	back, err := url.Parse(response.Header.Get("Location"))
	require.NoError(s, err)
	return s.token(url.Values{
		"grant_type": {"authorization_code"}, "client_id": {"portal"}, "client_secret": {appSecret}, "code": {back.Query().Get("code")},
		"redirect_uri": {portalCallback}, "code_verifier": {verifier},
	}).RefreshToken
}
