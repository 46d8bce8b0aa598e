// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/atomicfile"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/refresher"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// TestRotation runs the refresher against the token server with tokens of three
// seconds: they rotate, the client secret is rotated under it, the server goes
// away until the token has expired and comes back, and SIGTERM ends it. A
// reader spins all the while.
func TestRotation(t *testing.T) {
	var away atomic.Bool
	server := tokenservertest.Start(t, tokenservertest.WithTokenLifetime(3*time.Second),
		tokenservertest.WithMiddleware(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if away.Load() {
					panic(http.ErrAbortHandler) // the connection breaks without an answer
				}
				next.ServeHTTP(w, r)
			})
		}))
	app := registerApp(t, server)
	out, credentials := t.TempDir(), t.TempDir()
	mountCredentials(t, credentials, server.URL, app.ClientID, app.ClientSecret)

	p := start(t, "--log-format=json", "--health-listen=127.0.0.1:0", "--credentials-dir="+credentials, "--output-dir="+out)
	health := p.healthURL(t)
	eventuallyProbe(t, health+"/startupz", http.StatusOK)
	reader := spin(out)

	reader.waitForTokens(t, 3)
	requireAccepted(t, server.URL, reader.latest())

	secret := rotateSecret(t, server, app.ClientID)
	require.NotEqual(t, app.ClientSecret, secret)
	mountCredentials(t, credentials, server.URL, app.ClientID, secret)
	reader.waitForTokens(t, reader.tokens()+2)
	requireAccepted(t, server.URL, reader.latest())

	away.Store(true)
	eventuallyProbe(t, health+"/readyz", http.StatusServiceUnavailable)
	last := reader.latest()
	content, err := os.ReadFile(filepath.Join(out, refresher.KeyAccessToken))
	require.NoError(t, err, "the file stays")
	require.Equal(t, last, string(content))
	away.Store(false)
	eventuallyProbe(t, health+"/readyz", http.StatusOK)
	reader.waitForTokens(t, reader.tokens()+1)
	requireAccepted(t, server.URL, reader.latest())

	require.LessOrEqual(t, residentKiB(t, p.Process.Pid), 10<<10, "10 MiB resident")
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.Equal(t, 0, p.exitCode(), p.output)
	require.NoError(t, reader.stop(), "the reader saw a gap")

	for _, canary := range append(reader.all(), app.ClientSecret, secret) {
		require.NotContains(t, p.output.String(), canary)
	}
}

// An app whose client secret somebody else keeps: the Secret and its companion
// are one projected volume, as config/components/refresher/existing-secret makes
// it, and a new value is taken up without a restart.
func TestAnExistingSecretAndItsCompanionInOneVolume(t *testing.T) {
	server := tokenservertest.Start(t, tokenservertest.WithTokenLifetime(3*time.Second))
	app := registerApp(t, server)
	out, volume := t.TempDir(), t.TempDir()
	mount := func(secret string) {
		require.NoError(t, atomicfile.Dir{Path: volume}.Write(map[string][]byte{
			"client-id": []byte(app.ClientID), "token-url": []byte(server.URL + oauth.PathToken), // the companion's
			"issuer-url": []byte(server.URL + oauth.IssuerPath), "auth-method": []byte(oauth.AuthMethodSecretPost),
			"client-secret": []byte(secret + "\n"), // the ExistingSecret's, as an editor leaves it
		}))
	}
	chosen := func(secret string) string {
		var changed oauth.ConnectedApp
		manage(t, server, http.MethodPatch, oauth.PathConnectedApps+"/"+app.ClientID, http.StatusOK, map[string]any{"client_secret": secret}, &changed)
		return secret
	}
	first := chosen("a-secret-that-somebody-chose")
	mount(first)
	p := start(t, "--log-format=json", "--health-listen=127.0.0.1:0", "--credentials-dir="+volume, "--output-dir="+out)
	eventuallyProbe(t, p.healthURL(t)+"/startupz", http.StatusOK)
	reader := spin(out)
	reader.waitForTokens(t, 1)
	requireAccepted(t, server.URL, reader.latest())

	second := chosen("another-secret-that-somebody-chose")
	mount(second)
	reader.waitForTokens(t, reader.tokens()+2)
	requireAccepted(t, server.URL, reader.latest())
	require.NoError(t, reader.stop(), "the reader saw a gap")
	require.NotContains(t, p.output.String(), first)
	require.NotContains(t, p.output.String(), second)
}

// The companion alone, mounted by mistake, says what is missing and where it is.
func TestACompanionAloneSaysWhatIsMissing(t *testing.T) {
	p := start(t, "--once", "--once-timeout=1s", "--output-dir="+t.TempDir(),
		"--credentials-dir="+credentialsDir(t, map[string]string{"client-id": "a", "token-url": "https://id.example.com/token"}))
	require.Equal(t, exitFailed, p.exitCode())
	require.Contains(t, p.output.String(), "client-secret is missing: when it is in an ExistingSecret, mount that beside its companion")
}

// registerApp registers an app of the client credentials grant.
func registerApp(t *testing.T, server *tokenservertest.Instance) oauth.ConnectedApp {
	t.Helper()
	var app oauth.ConnectedApp
	manage(t, server, http.MethodPost, oauth.PathConnectedApps, http.StatusCreated, map[string]any{
		"client_name": "gitproxy", "grant_types": []string{oauth.GrantClientCredentials},
		"redirect_uris": []string{}, "scopes": []string{"profile"}, "public_keys": []string{}, "audience": oauth.AudienceInternal,
	}, &app)
	return app
}

// rotateSecret makes a new secret and ends the one before at once.
func rotateSecret(t *testing.T, server *tokenservertest.Instance, clientID string) string {
	t.Helper()
	var app oauth.ConnectedApp
	manage(t, server, http.MethodPatch, oauth.PathConnectedApps+"/"+clientID+"?resetSecret=true", http.StatusOK, map[string]any{}, &app)
	return app.ClientSecret
}

func manage(t *testing.T, server *tokenservertest.Instance, method, path string, want int, body, answer any) {
	t.Helper()
	administrator := &refresher.EndpointSource{Credentials: (&refresher.Directory{Path: credentialsDir(t, map[string]string{
		"client-id": server.AdminClientID, "client-secret": server.AdminClientSecret, "token-url": server.URL + oauth.PathToken,
	})}).Credentials}
	token, err := administrator.Token(t.Context())
	require.NoError(t, err)
	content, err := json.Marshal(body)
	require.NoError(t, err)
	request, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, bytes.NewReader(content))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+token.AccessToken)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, want, response.StatusCode, string(text))
	require.NoError(t, json.Unmarshal(text, answer))
}

// mountCredentials writes the credentials Secret as the kubelet does.
func mountCredentials(t *testing.T, dir, url, id, secret string) {
	t.Helper()
	require.NoError(t, atomicfile.Dir{Path: dir}.Write(map[string][]byte{
		"client-id": []byte(id), "client-secret": []byte(secret),
		"token-url": []byte("https://unreachable.invalid/token"), "internal-token-url": []byte(url + oauth.PathToken),
		"auth-method": []byte(oauth.AuthMethodSecretBasic),
	}))
}

func requireAccepted(t *testing.T, url, token string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+oauth.PathProfile, nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	_ = response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
}

func residentKiB(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); fields[0] == "VmRSS:" {
			n, err := strconv.Atoi(fields[1])
			require.NoError(t, err)
			t.Logf("resident: %d KiB", n)
			return n
		}
	}
	t.Fatal("no VmRSS in /proc")
	return 0
}

// reader spins over a token directory as an application would, and checks that
// what it reads is there, whole, and of one token.
type reader struct {
	dir  string
	quit chan struct{}
	done chan error

	mu   sync.Mutex
	seen []string
}

func spin(dir string) *reader {
	r := &reader{dir: dir, quit: make(chan struct{}), done: make(chan error, 1)}
	go func() {
		for {
			select {
			case <-r.quit:
				r.done <- nil
				return
			default:
			}
			if err := r.read(); err != nil {
				r.done <- err
				return
			}
		}
	}()
	return r
}

func (r *reader) read() error {
	if content, err := os.ReadFile(filepath.Join(r.dir, refresher.KeyAccessToken)); err != nil {
		return err
	} else if len(content) == 0 {
		return errors.New("access-token is empty")
	}
	files, err := atomicfile.Read(r.dir)
	if err != nil {
		return err
	}
	token, err := refresher.ParseFiles(files)
	if err != nil {
		return err
	}
	if token.AccessToken != string(files[refresher.KeyAccessToken]) || token.ExpiresAt.Format(time.RFC3339) != string(files[refresher.KeyExpiresAt]) {
		return errors.New("the files are of two tokens")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seen) == 0 || r.seen[len(r.seen)-1] != token.AccessToken {
		r.seen = append(r.seen, token.AccessToken)
	}
	return nil
}

func (r *reader) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.seen...)
}

func (r *reader) tokens() int { return len(r.all()) }

func (r *reader) latest() string { return r.all()[r.tokens()-1] }

func (r *reader) waitForTokens(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return r.tokens() >= n }, 30*time.Second, 10*time.Millisecond, "token %d", n)
}

func (r *reader) stop() error {
	close(r.quit)
	return <-r.done
}
