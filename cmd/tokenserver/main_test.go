// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// binary is the command under test, built once.

var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "tokenserver-test-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "tokenserver")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Stderr = os.Stderr
	code := 1
	// Other users run it in a test.
	if err := errors.Join(build.Run(), os.Chmod(dir, 0o755)); err == nil {
		code = m.Run()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

const (
	orgID   = "0c4e8a52-6f3b-4d71-9a0e-2b7f5d1c8e36"
	ownerID = "7d2f9b14-3c5a-4e86-b1d0-9f8e6a4c2b75"
	canary  = "cas_canary0123456789abcdefghijklmnopqrstuvwxyz"
	adminID = "connectedapps-manager"
	// patience is far more than anything here takes.
	patience = 60 * time.Second
)

// site is a folder with a configuration and the files it names.

type site struct {
	t   *testing.T
	dir string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	s.write("encryption-key", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))
	s.write("client-secret", canary+"\n")
	s.write("tokenserver.yaml", config)
	return s
}

// config lets the system choose the ports, so that no other test has them.

const config = `publicURL: http://localhost:8080
listen: 127.0.0.1:0
operationsListen: 127.0.0.1:0
storage: {sqlite: {path: tokenserver.db}}
encryptionKeyFiles: [encryption-key]
bootstrap: {adminClient: {clientID: ` + adminID + `, clientSecretFile: client-secret}}
organizations:
- {id: ` + orgID + `, name: Main, ownerID: ` + ownerID + `}
users:
- {id: ` + ownerID + `, organizationID: ` + orgID + `, username: owner}
`

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(name, content string) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(s.path(name), []byte(content), 0o600))
}

// edit replaces a text of the configuration.

func (s *site) edit(old, replacement string) {
	s.t.Helper()
	content, err := os.ReadFile(s.path("tokenserver.yaml"))
	require.NoError(s.t, err)
	require.Contains(s.t, string(content), old)
	s.write("tokenserver.yaml", strings.Replace(string(content), old, replacement, 1))
}

// command runs the binary in the folder and returns what it printed, first line

// by line, and its exit status.

func (s *site) command(stdin string, args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	return s.finish(exec.CommandContext(s.t.Context(), binary, args...), stdin)
}

func (s *site) finish(cmd *exec.Cmd, stdin string) (stdout, stderr string, code int) {
	s.t.Helper()
	var out, err bytes.Buffer
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = s.dir, strings.NewReader(stdin), &out, &err
	var exit *exec.ExitError
	if runErr := cmd.Run(); runErr != nil && !errors.As(runErr, &exit) {
		require.NoError(s.t, runErr)
	}
	return out.String(), err.String(), cmd.ProcessState.ExitCode()
}

// server is a running serve.

type server struct {
	*site
	cmd                *exec.Cmd
	log                *output
	done               chan struct{}
	public, operations string // known when ready
}

type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start runs serve, which is killed at the end of the test.

func (s *site) start(args ...string) *server {
	s.t.Helper()
	r := &server{site: s, log: &output{}, done: make(chan struct{})}
	r.cmd = exec.Command(binary, append([]string{"serve"}, args...)...)
	r.cmd.Dir, r.cmd.Stdout, r.cmd.Stderr = s.dir, r.log, r.log
	require.NoError(s.t, r.cmd.Start())
	go func() {
		_ = r.cmd.Wait()
		close(r.done)
	}()
	s.t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		<-r.done
		require.NotContains(s.t, r.log.String(), canary, "a secret is in the log")
	})
	return r
}

var servingAddresses = regexp.MustCompile(`serving.*\baddress"?[=:]"?([\d.:]+).*operations_address"?[=:]"?([\d.:]+)`)

func (r *server) ready() *server {
	r.t.Helper()
	r.eventually("serving", func() bool {
		match := servingAddresses.FindStringSubmatch(r.log.String())
		if match != nil {
			r.public, r.operations = match[1], match[2]
		}
		return match != nil
	})
	r.eventually("ready", func() bool { return r.status(r.operations+"/readyz") == http.StatusOK })
	return r
}

// eventually polls: every condition here is another process's.

func (r *server) eventually(what string, met func() bool) {
	r.t.Helper()
	require.Eventually(r.t, met, patience, 10*time.Millisecond, "%s\n%s", what, r.log)
}

// status is 0 when nobody answers.

func (r *server) status(address string) int {
	response, err := http.Get("http://" + address)
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// exit waits for the end and returns the status.

func (r *server) exit() int {
	r.t.Helper()
	select {
	case <-r.done:
		return r.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		r.t.Fatalf("still running\n%s", r.log)
		return -1
	}
}

func (r *server) terminate() { require.NoError(r.t, r.cmd.Process.Signal(syscall.SIGTERM)) }

// token asks for one with the administrator's client and returns the status.

func (r *server) token(secret string) (int, string) {
	r.t.Helper()
	response, err := http.PostForm("http://"+r.public+"/accounts/api/v2/oauth2/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {adminID}, "client_secret": {secret},
	})
	require.NoError(r.t, err)
	defer func() { _ = response.Body.Close() }()
	var body struct {
		AccessToken string `json:"access_token"`
	}
	require.NoError(r.t, json.NewDecoder(response.Body).Decode(&body))
	return response.StatusCode, body.AccessToken
}

// metric returns the lines of a metric.

// organization asks for the name of the administrator's organization.

// certificate writes a new certificate and key and returns its pool.
