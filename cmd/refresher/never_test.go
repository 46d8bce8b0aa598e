// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/refresher"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// TestNeverABadToken runs the refresher and the token server through whatever goes
// wrong, with tokens of 20 seconds, while a reader opens the files as fast as it
// can: it sees no gap, no half file and no expired token, until the app is
// disabled and its last token has come to its end.
func TestNeverABadToken(t *testing.T) {
	var faults faultyEndpoint
	options := []tokenservertest.Option{
		tokenservertest.WithTokenLifetime(20 * time.Second), tokenservertest.WithMiddleware(faults.wrap),
		tokenservertest.WithFolder(t.TempDir()), tokenservertest.WithAddress(testenv.FreeAddress(t)),
	}
	server := tokenservertest.Start(t, options...)
	app := registerApp(t, server)
	out, credentials := t.TempDir(), t.TempDir()
	mountCredentials(t, credentials, server.URL, app.ClientID, app.ClientSecret)
	args := []string{"--log-format=json", "--health-listen=127.0.0.1:0", "--credentials-dir=" + credentials, "--output-dir=" + out}
	p := start(t, args...)
	eventuallyProbe(t, p.healthURL(t)+"/startupz", http.StatusOK)
	reader := spin(out)
	next := func() {
		t.Helper()
		reader.waitForTokens(t, reader.tokens()+1)
		requireAccepted(t, server.URL, reader.latest())
	}
	reader.waitForTokens(t, 1)

	t.Log("the server restarts, breaks a connection, fails")
	server.Stop(t)
	server = tokenservertest.Start(t, options...)
	faults.add(breakOff, answer(http.StatusInternalServerError, `{"error":"server_error"}`))
	next()
	require.Zero(t, faults.left())

	t.Log("the server has too many requests, is slow, answers a page")
	faults.add(tooMany, slow)
	next()
	faults.add(answer(http.StatusOK, "<html>Sign in</html>"))

	t.Log("the client secret is rotated")
	secret := rotateSecret(t, server, app.ClientID)
	mountCredentials(t, credentials, server.URL, app.ClientID, secret)
	next()
	require.Zero(t, faults.left())
	require.LessOrEqual(t, residentKiB(t, p.Process.Pid), 10<<10, "10 MiB resident")

	t.Log("the refresher is killed and starts again")
	before := reader.tokens()
	require.NoError(t, p.Process.Kill())
	_ = p.Wait()
	killed := p.output
	p = start(t, args...)
	health := p.healthURL(t)
	eventuallyProbe(t, health+"/readyz", http.StatusOK)
	require.Contains(t, p.output.String(), "found a valid token")
	require.Equal(t, before, reader.tokens(), "it asks for no other")
	next()

	t.Log("the app is disabled")
	setEnabled(t, server, app.ClientID, false)
	require.Eventually(t, func() bool { return reported(t, out).Reason == refresher.ReasonRequestRefused }, time.Minute, 10*time.Millisecond)
	require.True(t, reported(t, out).Valid, "the last token stays while it lives")
	require.Contains(t, reported(t, out).Message, "invalid_client")
	require.ErrorIs(t, <-reader.done, fs.ErrNotExist, "then there is none")
	require.WithinRange(t, time.Now(), reader.expires.Add(-2*time.Second), reader.expires.Add(time.Minute), "and not before")
	require.False(t, reported(t, out).Valid)
	eventuallyProbe(t, health+"/readyz", http.StatusServiceUnavailable)

	t.Log("the app is enabled again")
	setEnabled(t, server, app.ClientID, true)
	eventuallyProbe(t, health+"/readyz", http.StatusOK)
	last := spin(out)
	last.waitForTokens(t, 1)
	requireAccepted(t, server.URL, last.latest())
	require.NoError(t, last.stop())

	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.Equal(t, 0, p.exitCode(), p.output)
	for _, canary := range append(append(reader.all(), last.all()...), app.ClientSecret, secret) {
		require.NotContains(t, killed.String()+p.output.String(), canary)
	}
}

// faultyEndpoint answers token requests of the app in other ways than the token
// server, one after the other.
type faultyEndpoint struct {
	mu     sync.Mutex
	faults []fault
}

type fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

func (f *faultyEndpoint) add(faults ...fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, faults...)
}

func (f *faultyEndpoint) left() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.faults)
}

func (f *faultyEndpoint) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The administrator of the test has its secret in the body.
		if _, _, basic := r.BasicAuth(); r.URL.Path != oauth.PathToken || !basic {
			next.ServeHTTP(w, r)
			return
		}
		f.mu.Lock()
		do := fault(func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) })
		if len(f.faults) > 0 {
			do, f.faults = f.faults[0], f.faults[1:]
		}
		f.mu.Unlock()
		do(w, r, next)
	})
}

// breakOff ends the connection without an answer.
func breakOff(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }

func tooMany(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(http.StatusTooManyRequests)
}

// slow lets the client wait.
func slow(w http.ResponseWriter, r *http.Request, next http.Handler) {
	select {
	case <-r.Context().Done():
	case <-time.After(time.Second):
		next.ServeHTTP(w, r)
	}
}

func answer(status int, body string) fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func setEnabled(t *testing.T, server *tokenservertest.Instance, clientID string, enabled bool) {
	t.Helper()
	var app oauth.ConnectedApp
	manage(t, server, http.MethodPatch, oauth.PathConnectedApps+"/"+clientID, http.StatusOK, map[string]any{"enabled": enabled}, &app)
	require.Equal(t, enabled, app.Enabled)
}

// reported is what status.json says.
func reported(t *testing.T, dir string) (report refresher.Report) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, refresher.FileStatus))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(content, &report))
	return report
}
