// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv/postgresql"
)

// onPostgreSQL is a site whose database is one of server.
func onPostgreSQL(t *testing.T, server *postgresql.Server, database string) *site {
	s := newSite(t)
	s.write("database-password", postgresql.Password+"\n")
	s.edit("sqlite: {path: tokenserver.db}", fmt.Sprintf(
		`postgresql: {url: "postgresql://%s@127.0.0.1:%d/%s", passwordFile: database-password}`, postgresql.User, server.Port, database))
	return s
}

func TestServeOnPostgreSQL(t *testing.T) {
	server := postgresql.Shared(t)
	database, _ := server.Database(t, "")
	s := onPostgreSQL(t, server, database)
	r := s.start().ready()
	status, _ := r.token(canary)
	require.Equal(t, http.StatusOK, status, r.log.String())
	_, stderr, code := s.command("", "keys", "rotate", "--config="+s.path("tokenserver.yaml"))
	require.Zero(t, code, stderr)
	status, _ = r.token(canary)
	require.Equal(t, http.StatusOK, status, "the running server goes on")
	r.terminate()
	require.Zero(t, r.exit())
	require.NotContains(t, r.log.String(), postgresql.Password)
}

// listening waits for the ports, ready or not.
func (r *server) listening() *server {
	r.t.Helper()
	r.eventually("listening", func() bool {
		match := servingAddresses.FindStringSubmatch(r.log.String())
		if match != nil {
			r.public, r.operations = match[1], match[2]
		}
		return match != nil
	})
	return r
}

// ask returns status, header and body of a request.
func (r *server) ask(method, path string) (int, http.Header, string) {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.public+path, strings.NewReader("grant_type=client_credentials"))
	require.NoError(r.t, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultClient.Do(request)
	require.NoError(r.t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(r.t, err)
	return response.StatusCode, response.Header, string(body)
}

// comeBackLater asks routes of every kind while the database is away.
func (r *server) comeBackLater() {
	r.t.Helper()
	for _, route := range []struct{ method, path, words string }{
		{http.MethodPost, oauth.PathToken, `"error":"temporarily_unavailable"`},
		{http.MethodPost, oauth.PathIntrospect, `"error":"temporarily_unavailable"`},
		{http.MethodGet, oauth.PathJWKS, `"error":"temporarily_unavailable"`},
		{http.MethodGet, oauth.PathConnectedApps, `"status":503`},
		{http.MethodGet, oauth.PathUserInfo, `"status":503`},
		{http.MethodGet, "/accounts/sign-in", "<html"},
	} {
		status, header, body := r.ask(route.method, route.path)
		require.Equal(r.t, http.StatusServiceUnavailable, status, route.path)
		require.NotEmpty(r.t, header.Get("Retry-After"), route.path)
		require.Contains(r.t, body, route.words, route.path)
	}
	status, header, body := r.ask(http.MethodGet, oauth.PathDiscovery)
	require.Equal(r.t, http.StatusOK, status)
	require.Equal(r.t, "no-store", header.Get("Cache-Control"))
	require.NotContains(r.t, body, "installation_id", "which is the database's")
	require.Equal(r.t, http.StatusServiceUnavailable, r.status(r.operations+"/readyz"))
	require.Equal(r.t, http.StatusOK, r.status(r.operations+"/healthz"))
	require.Equal(r.t, http.StatusOK, r.status(r.operations+"/metrics"))
}

func TestAServerWhoseDatabaseIsAwayListensAndBecomesReadyByItself(t *testing.T) {
	server, err := postgresql.Start(t.Context(), postgresql.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, server.Stop()) }()
	require.NoError(t, server.Create(t.Context(), "later", ""))
	require.NoError(t, server.Halt())
	s := onPostgreSQL(t, server, "later")
	r := s.start().listening()
	r.comeBackLater()
	require.Contains(t, r.log.String(), "the database cannot be used yet")
	require.Contains(t, r.log.String(), `hint="start the database`)
	other := s.start().listening()
	other.terminate()
	require.Zero(t, other.exit(), "SIGTERM ends the wait")

	require.NoError(t, server.Restart(t.Context()))
	r.ready()
	status, _ := r.token(canary)
	require.Equal(t, http.StatusOK, status)
	status, _, body := r.ask(http.MethodGet, oauth.PathJWKS)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, `"kid"`)
	_, header, body := r.ask(http.MethodGet, oauth.PathDiscovery)
	require.Contains(t, body, "installation_id")
	require.Contains(t, header.Get("Cache-Control"), "max-age")
	require.Equal(t, 1, strings.Count(r.log.String(), "the database is open"))
}

func TestWhatKeepsAServerFromItsDatabaseIsNamedAndMayBeMended(t *testing.T) {
	server := postgresql.Shared(t)
	database, _ := server.Database(t, "")
	s := onPostgreSQL(t, server, database)
	s.write("database-password", "a wrong password\n")
	r := s.start().listening()
	r.comeBackLater()
	require.Contains(t, r.log.String(), "password authentication failed")
	require.Contains(t, r.log.String(), `hint="correct storage.postgresql`)
	s.write("database-password", postgresql.Password+"\n")
	r.ready()
	require.NotContains(t, r.log.String(), "a wrong password")
	require.NotContains(t, r.log.String(), postgresql.Password)

	s.edit("/"+database, "/not_made_yet")
	late := s.start().listening()
	late.comeBackLater()
	require.Contains(t, late.log.String(), `database \"not_made_yet\" does not exist`)
	require.NoError(t, server.Create(t.Context(), "not_made_yet", ""))
	defer func() { require.NoError(t, server.Drop(t.Context(), "not_made_yet")) }()
	status, _ := late.ready().token(canary)
	require.Equal(t, http.StatusOK, status)
}

// A start that waiting does not mend ends, also one that has waited.
func TestAWrongKeyEndsAServerThatHasWaited(t *testing.T) {
	server := postgresql.Shared(t)
	database, _ := server.Database(t, "")
	first := onPostgreSQL(t, server, database).start().ready()
	first.terminate()
	require.Zero(t, first.exit())

	s := onPostgreSQL(t, server, database)
	s.write("encryption-key", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{8}, 32)))
	s.write("database-password", "a wrong password\n")
	r := s.start().listening()
	s.write("database-password", postgresql.Password+"\n")
	require.Equal(t, exitFailed, r.exit())
	require.Contains(t, r.log.String(), "no encryption key fits this database")
	require.Contains(t, r.log.String(), "hint: put the key that this database was made with back")
}
