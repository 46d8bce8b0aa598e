// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/testenv/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/token"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// What the database holds before each round.
const (
	webID     = "0123456789abcdef0123456789abcdef"
	webSecret = "cas_web"
	code      = "the-code"
	redirect  = "https://example.com/"
)

// TestAKillBetweenAnyTwoWritesLosesNothing runs the same work again and again,
// each time with a server that dies one write later, until it lives through
// all of it. After each death the server is started again on what is left and
// the client goes on as clients do: it repeats what got no answer.
func TestAKillBetweenAnyTwoWritesLosesNothing(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		template := prepare(t, t.TempDir())
		killEverywhere(t, func(t *testing.T) string { return copyOf(t, template) })
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		server := postgresql.Shared(t)
		database, _ := server.Database(t, tokenservertest.Template(t))
		template := t.TempDir()
		tokenservertest.OnPostgreSQL(t, template, server.URL(database))
		prepare(t, template)
		killEverywhere(t, func(t *testing.T) string {
			folder := copyOf(t, template)
			name, _ := server.Database(t, database)
			tokenservertest.OnPostgreSQL(t, folder, server.URL(name))
			return folder
		})
	})
}

func copyOf(t *testing.T, template string) string {
	folder := t.TempDir()
	require.NoError(t, os.CopyFS(folder, os.DirFS(template)))
	return folder
}

// killEverywhere runs the work on copies of what there is before it.
func killEverywhere(t *testing.T, copied func(t *testing.T) string) {
	const most = 100
	for killAt := 1; killAt < most; killAt++ {
		folder := copied(t)
		w := &work{t: t, folder: folder, address: testenv.FreeAddress(t), killAt: killAt}
		if died := w.run(); !died {
			t.Logf("the work takes %d writes", killAt-1)
			require.Greater(t, killAt, 5, "so few writes cannot be all of it")
			return
		}
	}
	t.Fatalf("the work takes more than %d writes", most)
}

// prepare makes a database with keys, an app that acts for users, and a code
// that a user's consent has sent to it.
func prepare(t *testing.T, folder string) string {
	i := tokenservertest.Start(t, tokenservertest.WithFolder(folder))
	hasher := &token.SecretHasher{Key: i.Keyring.DataKey(storage.PurposeSecretHash)}
	now := time.Now().UTC().Truncate(time.Microsecond)
	_, err := i.Store.CreateApp(t.Context(), storage.App{
		ClientID: webID, OrgID: i.OrgID, Name: "web", Enabled: true, Audience: oauth.AudienceInternal,
		GrantTypes: []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken}, RedirectURIs: []string{redirect},
		Scopes: []string{oauth.ScopeProfile, oauth.ScopeOfflineAccess}, TokenEndpointAuthMethod: oauth.AuthMethodSecretPost,
		OwnerUserID: tokenservertest.OwnerID, OwnerOrgID: i.OrgID, CreatedAt: now, UpdatedAt: now,
		Secrets: []storage.Secret{{ID: "web-secret", Hash: hasher.Hash(webSecret), CreatedAt: now}},
	})
	require.NoError(t, err)
	hash := sha256.Sum256([]byte(code))
	require.NoError(t, i.Store.CreateCode(t.Context(), storage.AuthorizationCode{
		Hash: hash[:], ClientID: webID, UserID: tokenservertest.UserID, OrgID: i.OrgID, RedirectURI: redirect,
		Scopes: []string{oauth.ScopeProfile, oauth.ScopeOfflineAccess}, AuthTime: now, GrantID: uuid.NewString(),
		CreatedAt: now, ExpiresAt: now.Add(time.Hour),
	}))
	i.HTTP.Close()
	require.NoError(t, i.Store.Close())
	return folder
}

// work is one round.
type work struct {
	t       *testing.T
	folder  string
	address string
	killAt  int

	server *process
	died   bool

	secrets      []string // every client secret the client was told
	clientID     string
	codeAnswers  int
	refreshToken string
}

func (w *work) run() (died bool) {
	w.restart()
	w.register()
	w.addSecret()
	w.rename()
	w.redeemCode()
	w.refresh()
	w.refresh()
	w.checkApp()
	w.died = w.server.stop() || w.died
	w.checkStorage()
	return w.died
}

// restart starts the server; only the first one may die.
func (w *work) restart() {
	for {
		killAt := w.killAt
		if w.died {
			killAt = 0
		}
		server, ready := start(w.t, w.folder, w.address, killAt)
		if ready {
			w.server = server
			return
		}
		require.False(w.t, w.died, "the server did not start again")
		w.died = true
	}
}

// send repeats a request until it is answered; answered tells whether it was at
// the first attempt.
func (w *work) send(method, path string, header http.Header, body []byte) (status int, text []byte) {
	for {
		request, err := http.NewRequestWithContext(w.t.Context(), method, "http://"+w.address+path, bytes.NewReader(body))
		require.NoError(w.t, err)
		request.Header = header
		request.Close = true
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			text, err = io.ReadAll(response.Body)
			_ = response.Body.Close()
		}
		if err == nil {
			return response.StatusCode, text
		}
		require.False(w.t, w.died, "the second server died too: %v", err)
		w.server.stop()
		w.died = true
		w.restart()
		if path != oauth.PathToken {
			// The administrator's secret is the new process's.
			header = w.adminHeader()
		}
	}
}

func (w *work) token(form url.Values) (int, oauth.TokenResponse) {
	status, text := w.send(http.MethodPost, oauth.PathToken, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, []byte(form.Encode()))
	var answer oauth.TokenResponse
	require.NoError(w.t, json.Unmarshal(text, &answer), string(text))
	return status, answer
}

func (w *work) adminHeader() http.Header {
	for {
		before := w.server
		status, answer := w.token(url.Values{
			"grant_type": {"client_credentials"}, "client_id": {tokenservertest.AdminClientID}, "client_secret": {w.server.AdminSecret},
		})
		if status == http.StatusOK {
			return http.Header{"Authorization": {"Bearer " + answer.AccessToken}, "Content-Type": {"application/json"}}
		}
		require.NotSame(w.t, before, w.server, "the administrator's client is refused")
	}
}

func (w *work) manage(method, path, body string, into any) int {
	status, text := w.send(method, path, w.adminHeader(), []byte(body))
	require.Less(w.t, status, 300, string(text))
	if into != nil {
		require.NoError(w.t, json.Unmarshal(text, into), string(text))
	}
	return status
}

func (w *work) register() {
	var app oauth.ConnectedApp
	w.manage(http.MethodPost, oauth.PathConnectedApps, `{"client_name":"machine","grant_types":["client_credentials"],"external_id":"cluster/ns/app/uid"}`, &app)
	w.clientID, w.secrets = app.ClientID, append(w.secrets, app.ClientSecret)
}

func (w *work) addSecret() {
	var secret oauth.Secret
	w.manage(http.MethodPost, oauth.PathConnectedApps+"/"+w.clientID+"/secrets", `{"overlap_seconds":3600}`, &secret)
	w.secrets = append(w.secrets, secret.ClientSecret)
}

func (w *work) rename() {
	w.manage(http.MethodPatch, oauth.PathConnectedApps+"/"+w.clientID, `{"client_name":"renamed"}`, nil)
}

// redeemCode repeats the exchange when its answer is lost: never are there two
// answers with tokens.
func (w *work) redeemCode() {
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}, "client_id": {webID}, "client_secret": {webSecret},
	}
	for range 2 {
		if status, answer := w.token(form); status == http.StatusOK {
			w.codeAnswers++
			w.refreshToken = answer.RefreshToken
			return
		}
	}
}

// refresh repeats a refresh whose answer was lost with the token it has.
func (w *work) refresh() {
	if w.codeAnswers == 0 {
		return // the code's answer was lost, and its repetition ended the family
	}
	status, answer := w.token(url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {w.refreshToken}, "client_id": {webID}, "client_secret": {webSecret},
	})
	require.Equal(w.t, http.StatusOK, status, "the family is dead though no token was reused")
	require.NotEmpty(w.t, answer.RefreshToken)
	w.refreshToken = answer.RefreshToken
}

// checkApp looks at the app through the API.
func (w *work) checkApp() {
	var list oauth.List[oauth.ConnectedApp]
	w.manage(http.MethodGet, oauth.PathConnectedApps+"?external_id="+url.QueryEscape("cluster/ns/app/uid"), "", &list)
	require.Equal(w.t, 1, list.Total, "one app, neither lost nor doubled")
	require.Equal(w.t, "renamed", list.Data[0].ClientName)
	for _, secret := range w.secrets {
		status, _ := w.token(url.Values{"grant_type": {"client_credentials"}, "client_id": {w.clientID}, "client_secret": {secret}})
		require.Equal(w.t, http.StatusOK, status, "a secret that the client was told is not accepted")
	}
}

// checkStorage looks at what is on disk.
func (w *work) checkStorage() {
	store := tokenservertest.OpenStorage(w.t, w.folder)
	defer func() { _ = store.Close() }()
	hash := sha256.Sum256([]byte(code))
	record, err := store.Code(w.t.Context(), hash[:])
	require.NoError(w.t, err)
	require.False(w.t, record.RedeemedAt.IsZero())
	require.LessOrEqual(w.t, w.codeAnswers, 1, "one code, one set of tokens")
	family, err := store.Family(w.t.Context(), record.GrantID)
	require.NoError(w.t, err)
	require.Equal(w.t, w.codeAnswers == 0, !family.RevokedAt.IsZero(), "a family is revoked when its code was presented twice, and only then")
}
