// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tracing/tracingtest"
)

func TestServeFromTheFirstStartToSIGTERM(t *testing.T) {
	r := newSite(t).start("--log-format=json").ready()
	status, raw := r.token(canary)
	require.Equal(t, http.StatusOK, status, r.log.String())
	status, _ = r.token("cas_wrong0123456789")
	require.Equal(t, http.StatusUnauthorized, status)
	require.NotContains(t, r.log.String(), raw)

	info, err := os.Stat(r.path("tokenserver.db"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	r.terminate()
	require.Zero(t, r.exit())
	for line := range strings.Lines(r.log.String()) {
		require.True(t, json.Valid([]byte(line)), line)
	}

	again := r.start().ready()
	status, _ = again.token(canary)
	require.Equal(t, http.StatusOK, status, "the client and its secret survive a restart")
}

func TestSIGTERMTellsTheProbesAndFinishesRequestsThatHaveBegun(t *testing.T) {
	r := newSite(t).start("--drain-delay=2s").ready()
	// A request whose body is still on its way when the signal comes.
	body := url.Values{"grant_type": {"client_credentials"}, "client_id": {adminID}, "client_secret": {canary}}.Encode()
	connection, err := net.Dial("tcp", r.public)
	require.NoError(t, err)
	defer func() { _ = connection.Close() }()
	_, err = fmt.Fprintf(connection, "POST /accounts/api/v2/oauth2/token HTTP/1.1\r\nHost: x\r\n"+
		"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", len(body), body[:10])
	require.NoError(t, err)

	r.terminate()
	r.eventually("unready", func() bool { return r.status(r.operations+"/readyz") == http.StatusServiceUnavailable })
	require.Equal(t, http.StatusOK, r.status(r.operations+"/healthz"))
	status, _ := r.token(canary)
	require.Equal(t, http.StatusOK, status, "who has not noticed yet is still served")
	last, err := http.Get("http://" + r.public + "/accounts/api/v2/oauth2/jwks")
	require.NoError(t, err)
	require.NoError(t, last.Body.Close())
	require.Equal(t, http.StatusOK, last.StatusCode)
	require.True(t, last.Close, "the next request is to go to somebody else")
	r.eventually("no new connections", func() bool {
		c, err := net.Dial("tcp", r.public)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	_, err = io.WriteString(connection, body[10:])
	require.NoError(t, err)
	answer, err := io.ReadAll(connection)
	require.NoError(t, err)
	require.Contains(t, string(answer), "HTTP/1.1 200 OK")
	require.Contains(t, string(answer), "access_token")
	require.Zero(t, r.exit())
}

func TestASecondServerOnTheSameDatabaseIsRefused(t *testing.T) {
	r := newSite(t).start().ready()
	_, stderr, code := r.command("", "serve")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "tokenserver: opening database tokenserver.db: the database is in use by another process (pid "+strconv.Itoa(r.cmd.Process.Pid)+" on host ")
	require.Contains(t, stderr, ")\nhint: stop the other tokenserver first")
	status, _ := r.token(canary)
	require.Equal(t, http.StatusOK, status, "the first goes on")
}

// A replacement starts while the process before it still finishes.
func TestAReplacementWaitsForTheDatabaseAndSaysForWhom(t *testing.T) {
	s := newSite(t)
	first := s.start().ready()
	second := s.start("--wait=1m")
	holder := "held by pid " + strconv.Itoa(first.cmd.Process.Pid) + " on host "
	second.eventually("says for whom", func() bool { return strings.Contains(second.log.String(), holder) })
	first.terminate()
	require.Zero(t, first.exit())
	status, _ := second.ready().token(canary)
	require.Equal(t, http.StatusOK, status)
}

func TestWaitingForTheDatabaseEndsWithAHint(t *testing.T) {
	r := newSite(t).start().ready()
	_, stderr, code := r.command("", "serve", "--wait=300ms")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "tokenserver: waiting 300ms for the database: opening database tokenserver.db: the database is in use")
	require.Contains(t, stderr, "\nhint: stop the other tokenserver first")
}

func TestWaitingForTheDatabaseIsEndedBySIGTERM(t *testing.T) {
	s := newSite(t)
	first := s.start().ready()
	second := s.start("--wait-for-files=1m")
	second.eventually("waits", func() bool { return strings.Contains(second.log.String(), "waiting what=database") })
	second.terminate()
	require.Zero(t, second.exit())
	status, _ := first.token(canary)
	require.Equal(t, http.StatusOK, status)
}

func TestWaitForFilesWaitsUntilTheyAreMade(t *testing.T) {
	s := newSite(t)
	require.NoError(t, os.Rename(s.path("client-secret"), s.path("later")))
	require.NoError(t, os.Rename(s.path("tokenserver.yaml"), s.path("config-later")))
	r := s.start("--wait-for-files=1m")
	r.eventually("waits for the configuration", func() bool { return strings.Contains(r.log.String(), "missing=tokenserver.yaml") })
	require.NoError(t, os.Rename(s.path("config-later"), s.path("tokenserver.yaml")))
	r.eventually("waits for the secret", func() bool { return strings.Contains(r.log.String(), "missing=client-secret") })
	require.NoError(t, os.Rename(s.path("later"), s.path("client-secret")))
	status, _ := r.ready().token(canary)
	require.Equal(t, http.StatusOK, status)
}

func TestWaitForFilesEndsWithTheirNames(t *testing.T) {
	s := newSite(t)
	require.NoError(t, os.Remove(s.path("client-secret")))
	require.NoError(t, os.Remove(s.path("encryption-key")))
	_, stderr, code := s.command("", "serve", "--wait-for-files=300ms")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "tokenserver: waiting for files: encryption-key, client-secret did not appear within 300ms\nhint: ")
}

func TestWaitForFilesIsEndedBySIGTERM(t *testing.T) {
	s := newSite(t)
	require.NoError(t, os.Remove(s.path("client-secret")))
	r := s.start("--wait-for-files=1m")
	r.eventually("waits", func() bool { return strings.Contains(r.log.String(), "msg=waiting what=files") })
	r.terminate()
	require.Zero(t, r.exit())
}

func TestSpansGoToTheCollectorOfTheConfiguration(t *testing.T) {
	collector := tracingtest.Start(t)
	s := newSite(t)
	s.write("headers", "X-Tenant: ours\n")
	s.edit("storage:", "tracing: {endpoint: \""+collector.URL+"\", headersFile: headers}\nstorage:")
	r := s.start("--log-format=json").ready()
	status, _ := r.token(canary)
	require.Equal(t, http.StatusOK, status, r.log.String())
	r.terminate()
	require.Zero(t, r.exit())
	require.Equal(t, "ours", collector.Headers().Get("X-Tenant"))
	for _, span := range collector.Spans() {
		require.Equal(t, "tokenserver", span.Service)
		if span.Name() == "POST /accounts/api/v2/oauth2/token" {
			require.Contains(t, r.log.String(), `"trace_id":"`+span.TraceID().String()+`"`)
			return
		}
	}
	require.Fail(t, "the request has no span", "%v", collector.Spans())
}
