// SPDX-License-Identifier: Apache-2.0

package floods

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/testenv/program"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// Names of the configuration.
const (
	orgID       = "11111111-1111-4111-8111-111111111111"
	ownerID     = "44444444-4444-4444-8444-444444444444"
	adminID     = "administrator"
	adminSecret = "cas_0123456789abcdef0123456789abcdef"
	password    = "correct horse battery staple"
)

// The addresses of the flood and of its guest, by which the server tells them apart.
const floodAddress, guestAddress = "127.0.0.1", "127.0.0.2"

// Limits that docs/tokenserver-configuration.md names.
const (
	maxMemory      = 256 << 20
	maxConnections = 500
)

// patience is far more than anything here takes, also on a machine that is busy.
const patience = 2 * time.Minute

// server is a running token server on SQLite, with the limits it has by itself.
type server struct {
	t                  *testing.T
	process            *program.Process
	public, operations string
}

var passwordHash = sync.OnceValues(func() (string, error) { return user.HashPassword(password) })

// start takes more lines of configuration.
func start(t *testing.T, more ...string) *server {
	t.Helper()
	folder := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	hash, err := passwordHash()
	require.NoError(t, err)
	s := &server{t: t}
	s.public = freeAddress(t)
	s.operations = freeAddress(t)
	config := write("tokenserver.yaml", `publicURL: http://`+s.public+`
listen: `+s.public+`
operationsListen: `+s.operations+`
storage: {sqlite: {path: `+filepath.Join(folder, "tokenserver.db")+`}}
encryptionKeyFiles: [`+write("encryption-key", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))+`]
bootstrap: {adminClient: {clientID: `+adminID+`, clientSecretFile: `+write("client-secret", adminSecret)+`}}
organizations: [{id: `+orgID+`, name: Main, ownerID: `+ownerID+`, identityProviders: [{id: corporate, name: Corporate}]}]
users: [{id: `+ownerID+`, organizationID: `+orgID+`, username: owner, passwordHashFile: `+write("owner.hash", hash)+`}]
`+strings.Join(more, "\n"))
	s.process = program.Start(t, binary, "serve", "--drain-delay=0s", "--config="+config)
	testenv.EventuallyWithin(t, patience, func(r *require.Assertions) {
		select {
		case <-s.process.Done():
			require.FailNow(t, "the server has ended", s.process.Output())
		default:
		}
		response, err := http.Get("http://" + s.operations + "/readyz")
		r.NoError(err)
		_ = response.Body.Close()
		r.Equal(http.StatusOK, response.StatusCode)
	})
	return s
}

func freeAddress(t *testing.T) string {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", floodAddress+":0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// client connects from an address, anew for each request: it must get in each time.
func client(from string) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	return &http.Client{
		Timeout:       patience,
		Transport:     &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// post sends a form and reads the answer.
func (s *server) post(ctx context.Context, c *http.Client, path string, pairs ...string) (*http.Response, string, error) {
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.public+path, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return do(c, request)
}

func do(c *http.Client, request *http.Request) (*http.Response, string, error) {
	response, err := c.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return response, string(body), err
}

// adminToken is one that the management API takes.
func (s *server) adminToken() string {
	s.t.Helper()
	response, body, err := s.post(s.t.Context(), client(guestAddress), oauth.PathToken,
		"grant_type", oauth.GrantClientCredentials, "client_id", adminID, "client_secret", adminSecret)
	require.NoError(s.t, err)
	require.Equal(s.t, http.StatusOK, response.StatusCode, body)
	var issued oauth.TokenResponse
	require.NoError(s.t, json.Unmarshal([]byte(body), &issued))
	return issued.AccessToken
}

// guest is one request of somebody who means well; its error says that it was not
// served.
type guest func(context.Context) error

// token asks for an access token.
func (s *server) token() guest {
	c := client(guestAddress)
	return func(ctx context.Context) error {
		response, body, err := s.post(ctx, c, oauth.PathToken, "grant_type", oauth.GrantClientCredentials, "client_id", adminID, "client_secret", adminSecret)
		if err == nil && response.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s", response.Status, body)
		}
		return err
	}
}

// pace is how often a guest comes, at most.
const pace = 20 * time.Millisecond

// during runs a flood to its end, on an idle server, and a guest beside it, each of
// whose requests is served.
func (s *server) during(visit guest, flood func(ctx context.Context)) {
	s.t.Helper()
	require.NoError(s.t, visit(s.t.Context()), "before the flood")
	before := s.held()
	ctx, cancel := context.WithCancel(s.t.Context())
	visits, failed := 0, make(chan error, 1)
	go func() {
		var err error
		next := time.NewTicker(pace)
		defer next.Stop()
		for ctx.Err() == nil && err == nil {
			err = visit(s.t.Context())
			visits++
			<-next.C
		}
		failed <- err
	}()
	flood(s.t.Context())
	cancel()
	require.NoError(s.t, <-failed, "a guest was not served, after %d who were", visits-1)
	s.t.Logf("%d visits, %d MiB at most", visits, s.memory()>>20)
	require.Less(s.t, s.memory(), maxMemory, "bytes of memory")
	s.settles(before)
	require.NoError(s.t, visit(s.t.Context()), "after the flood")
}

// held is what a flood must not leave behind.
type held struct{ goroutines, files int }

func (s *server) held() held {
	s.t.Helper()
	response, err := http.Get("http://" + s.operations + "/metrics")
	require.NoError(s.t, err)
	defer func() { _ = response.Body.Close() }()
	metrics, err := io.ReadAll(response.Body)
	require.NoError(s.t, err)
	var h held
	_, after, _ := bytes.Cut(metrics, []byte("\ngo_goroutines "))
	_, err = fmt.Sscan(string(after), &h.goroutines)
	require.NoError(s.t, err)
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.process.PID()))
	require.NoError(s.t, err)
	h.files = len(files)
	return h
}

// settles waits until the server holds no more than before the flood, but for a
// process for password checks and a file of the database here and there.
func (s *server) settles(before held) {
	s.t.Helper()
	const spare = 10
	testenv.EventuallyWithin(s.t, patience, func(r *require.Assertions) {
		now := s.held()
		r.Less(now.goroutines, before.goroutines+spare, "goroutines")
		r.Less(now.files, before.files+spare, "open files")
	})
}

// memory is the most that the server and its processes for password checks have held.
func (s *server) memory() int {
	s.t.Helper()
	total := 0
	for _, pid := range append(program.Children(s.t, s.process.PID()), s.process.PID()) {
		total += peak(s.t, pid)
	}
	return total
}

// peak is the most memory that a process has held, in bytes; 0 when it has ended.
func peak(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	var kib int
	_, after, _ := bytes.Cut(status, []byte("VmHWM:"))
	_, err = fmt.Sscan(string(after), &kib)
	require.NoError(t, err)
	return kib << 10
}
