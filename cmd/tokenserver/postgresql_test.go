// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/testenv/postgresql"
)

func TestServeOnPostgreSQL(t *testing.T) {
	server := postgresql.Shared(t)
	database, _ := server.Database(t, "")
	s := newSite(t)
	s.write("database-password", postgresql.Password+"\n")
	s.edit("sqlite: {path: tokenserver.db}", fmt.Sprintf(
		`postgresql: {url: "postgresql://%s@127.0.0.1:%d/%s", passwordFile: database-password}`, postgresql.User, server.Port, database))
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

	s.write("database-password", "a wrong password\n")
	_, stderr, code = s.command("", "serve", "--wait=1m", "--config="+s.path("tokenserver.yaml"))
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "password authentication failed")
	require.Contains(t, stderr, "hint: correct storage.postgresql")
	require.NotContains(t, stderr, "a wrong password")
}
