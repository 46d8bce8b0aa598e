// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	testserver "connectedapps.dev/operator/internal/testenv/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlcopy"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlstore"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// estate is what all grants have issued, and what has ended of it.
type estate struct {
	*holdings
	vouching                    *asserting
	machine                     oauth.ConnectedApp
	byMachine, byPassword       string
	byAssertion, used           string
	revoked, endedOpaque, stale string
	deleted                     oauth.ConnectedApp
	installation                string
	kids                        []string
}

func newEstate(t *testing.T) *estate {
	t.Helper()
	e := &estate{holdings: newHoldings(t)}
	e.issue()
	e.machine = register(t, e.i, machineApp)
	e.byMachine = e.machineToken(e.machine)
	status, tokens, failure, _ := e.request("grant_type", "password", "username", "ulf", "password", tokenservertest.Password)
	require.Equal(t, http.StatusOK, status, failure)
	e.byPassword = tokens.AccessToken
	e.vouch()

	e.manage(http.MethodPatch, "/"+e.app.ClientID, `{"access_token_format":"opaque"}`, http.StatusOK)
	_, opaque, _ := e.redeem(e.authorize())
	e.manage(http.MethodPatch, "/"+e.app.ClientID, `{"access_token_format":null}`, http.StatusOK)
	_, other, _ := e.redeem(e.authorize())
	e.revokeAny(opaque.AccessToken)
	e.revokeAny(other.RefreshToken)
	e.endedOpaque, e.revoked, e.stale = opaque.AccessToken, other.AccessToken, other.RefreshToken
	e.deleted = register(t, e.i, machineApp)
	e.manage(http.MethodDelete, "/"+e.deleted.ClientID, "", http.StatusNoContent)
	e.installation, e.kids = e.identity()
	return e
}

// vouch registers an app that asserts users, and uses one assertion up.
func (e *estate) vouch() {
	e.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(e.t, err)
	body, err := json.Marshal(map[string]any{
		"client_name": "assert", "grant_types": []string{oauth.GrantJWTBearer}, "public_keys": []string{pemOf(e.t, key.Public())},
		"scopes": []string{"profile"}, "audience": "internal", "identity_providers": []string{tokenservertest.ProviderID},
	})
	require.NoError(e.t, err)
	e.vouching = &asserting{key: key, personWorld: &personWorld{t: e.t, i: e.i, clock: e.clock, app: register(e.t, e.i, string(body))}}
	claims := e.vouching.claims()
	claims["jti"] = "once"
	e.used = e.vouching.sign(claims)
	status, tokens, failure := e.vouching.exchange(e.used)
	require.Equal(e.t, http.StatusOK, status, failure)
	e.byAssertion = tokens.AccessToken
}

// identity is what others know the server by.
func (e *estate) identity() (installation string, kids []string) {
	e.t.Helper()
	installation, err := e.i.Store.InstallationID(e.t.Context())
	require.NoError(e.t, err)
	for _, key := range e.i.Keyring.Published() {
		kids = append(kids, key.KeyID)
	}
	return installation, kids
}

// check looks at all of it.
func (e *estate) check() {
	t := e.t
	t.Helper()
	for name, alive := range e.alive() {
		require.True(t, alive, name)
	}
	require.True(t, e.redeems(), "a code from before")
	require.True(t, e.introspect(e.app, e.byPassword).Active)
	require.True(t, e.introspect(e.machine, e.byMachine).Active)
	asserted := e.introspect(e.vouching.app, e.byAssertion)
	require.True(t, asserted.Active)
	_, again, failure := e.vouching.exchange(e.vouching.sign(e.vouching.claims()))
	require.Empty(t, failure.Error)
	require.Equal(t, asserted.Subject, e.introspect(e.vouching.app, again.AccessToken).Subject, "the user is known")
	e.machineToken(e.machine)

	for name, token := range map[string]string{"by its family": e.revoked, "opaque": e.endedOpaque} {
		require.False(t, e.introspect(e.app, token).Active, name)
	}
	_, _, failure = e.refresh(e.stale)
	require.Equal(t, "invalid_grant", failure.Error)
	status, _, _ := e.vouching.exchange(e.used)
	require.Equal(t, http.StatusBadRequest, status, "an assertion that is used up")
	response, _ := post(t, e.i.URL+oauth.PathToken, formType, url.Values{"grant_type": {oauth.GrantClientCredentials}}.Encode(),
		basic(e.deleted.ClientID, e.deleted.ClientSecret))
	require.Equal(t, http.StatusUnauthorized, response.StatusCode)
	installation, kids := e.identity()
	require.Equal(t, e.installation, installation)
	require.Equal(t, e.kids, kids)
}

// moveTo stops the server, copies its database and starts it on the copy, in a
// folder of its own with the same encryption key.
func (e *estate) moveTo(from, to func() (*sqlstore.Store, error), folder string, options ...tokenservertest.Option) {
	t := e.t
	t.Helper()
	http.DefaultClient.CloseIdleConnections()
	e.client.CloseIdleConnections()
	e.i.Stop(t)
	source, err := from()
	require.NoError(t, err)
	target, err := to()
	require.NoError(t, err)
	_, err = sqlcopy.Copy(t.Context(), source, target, sqlcopy.Options{})
	require.NoError(t, errors.Join(err, source.Close(), target.Close()))
	key, err := os.ReadFile(filepath.Join(e.folder, "encryption-key"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "encryption-key"), key, 0o600))
	e.folder = folder
	e.start(e.people(nil), options...)
	e.vouching.i = e.i
}

func TestWhatWasIssuedLivesInACopy(t *testing.T) {
	server := testserver.Shared(t)
	database, _ := server.Database(t, "")
	o := postgresql.Options{URL: "postgresql://" + testserver.User + "@" + hostOf(t, server.URL(database)) + "/" + database, PasswordFile: filepath.Join(t.TempDir(), "password")}
	require.NoError(t, os.WriteFile(o.PasswordFile, []byte(testserver.Password), 0o600))
	inFile := func(folder string) func() (*sqlstore.Store, error) {
		return func() (*sqlstore.Store, error) { return sqlite.OpenAsIs(filepath.Join(folder, "tokenserver.db")) }
	}
	onServer := func() (*sqlstore.Store, error) { return postgresql.OpenAsIs(t.Context(), o) }
	e := newEstate(t)

	e.moveTo(inFile(e.folder), onServer, t.TempDir(), tokenservertest.WithStorage(func(storage.Storage) storage.Storage {
		s, err := postgresql.Open(t.Context(), o, time.Now())
		require.NoError(t, err)
		return s
	}))
	e.check()
	_, late, failure := e.redeem(e.authorize())
	require.Empty(t, failure.Error)
	e.codes = []string{e.authorize()}

	back := t.TempDir()
	e.moveTo(onServer, inFile(back), back)
	e.check()
	require.True(t, e.introspect(e.app, late.AccessToken).Active, "issued on PostgreSQL")
	status, _, _ := e.refresh(late.RefreshToken)
	require.Equal(t, http.StatusOK, status)
}

func hostOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	return u.Host
}

// TestWhatAnOldBackupMeans holds the table of docs/tokenserver-database.md, but for
// what the manager does.
func TestWhatAnOldBackupMeans(t *testing.T) {
	e := &estate{holdings: newHoldings(t)}
	e.issue()
	e.vouch()
	former, doomed := e.app.ClientSecret, register(t, e.i, machineApp)
	_, leaked, _ := e.redeem(e.authorize())
	restore := e.backup()

	e.vouching.i = e.i
	claims := e.vouching.claims()
	claims["jti"], claims["sub"] = "twice", "v2|"+tokenservertest.ProviderID+"|newcomer|n|c|n@example.com|[community]"
	assertion := e.vouching.sign(claims)
	_, newcomer, failure := e.vouching.exchange(assertion)
	require.Empty(t, failure.Error)
	first := e.introspect(e.vouching.app, newcomer.AccessToken).Subject
	e.revokeAny(leaked.AccessToken)
	require.False(t, e.introspect(e.app, leaked.AccessToken).Active)
	young := register(t, e.i, machineApp)
	e.manage(http.MethodDelete, "/"+doomed.ClientID, "", http.StatusNoContent)
	require.True(t, e.refreshes())
	require.True(t, e.refreshes())
	_, begun, failure := e.redeem(e.authorize())
	require.Empty(t, failure.Error)
	require.NoError(t, e.i.Keyring.Rotate(t.Context(), true, false))
	_, signedAnew, _ := e.refresh(begun.RefreshToken)
	require.True(t, e.introspect(e.app, signedAnew.AccessToken).Active)
	e.replaceSecret()

	restore()
	e.vouching.i = e.i
	secretWorks := func(app oauth.ConnectedApp) bool {
		response, _ := post(t, e.i.URL+oauth.PathIntrospect, formType, "token=x", basic(app.ClientID, app.ClientSecret))
		require.Contains(t, []int{http.StatusOK, http.StatusUnauthorized}, response.StatusCode)
		return response.StatusCode == http.StatusOK
	}
	require.False(t, secretWorks(e.app), "the secret of after the backup")
	e.app.ClientSecret = former
	require.True(t, secretWorks(e.app))
	require.False(t, secretWorks(young), "it is gone")
	require.True(t, secretWorks(doomed), "it is back")
	require.False(t, e.introspect(e.app, signedAnew.AccessToken).Active, "of a key that is gone")
	_, _, failure = e.refresh(signedAnew.RefreshToken)
	require.Equal(t, "invalid_grant", failure.Error, "a chain that is gone")
	require.True(t, e.refreshes(), "a chain that moved on")
	_, newcomer, failure = e.vouching.exchange(assertion)
	require.Empty(t, failure.Error, "an assertion counts once more")
	require.NotEqual(t, first, e.introspect(e.vouching.app, newcomer.AccessToken).Subject, "and its user is another")
	require.True(t, e.introspect(e.app, leaked.AccessToken).Active, "a revoked token is alive again")
	require.NoError(t, e.i.Keyring.Rotate(t.Context(), true, true))
	require.False(t, e.introspect(e.app, leaked.AccessToken).Active, "until the keys are revoked")
}
