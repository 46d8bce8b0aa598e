// SPDX-License-Identifier: Apache-2.0

package speed

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
)

// The cores of servers and client. On a machine with one core they share it.
const serverCore, clientCore = "0", "1"

const (
	orgID   = "11111111-1111-4111-8111-111111111111"
	ownerID = "44444444-4444-4444-8444-444444444444"
	adminID = "administrator"
)

// process is a server under measurement.
type process struct {
	address string
	command *exec.Cmd
}

// cpu is what the process has used so far.
func (p *process) cpu(t testing.TB) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.command.Process.Pid))
	require.NoError(t, err)
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	ticks := 0
	for _, field := range fields[11:13] { // utime and stime, proc_pid_stat(5)
		n, err := strconv.Atoi(field)
		require.NoError(t, err)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// resident is how much memory the process holds, in MiB.
func (p *process) resident(t testing.TB) float64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	require.NoError(t, err)
	var kib float64
	_, after, _ := bytes.Cut(status, []byte("VmRSS:"))
	_, err = fmt.Sscan(string(after), &kib)
	require.NoError(t, err)
	return kib / 1024
}

// stop ends it as Kubernetes does.
func (p *process) stop() {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	_ = p.command.Wait()
}

// launch starts a binary on the servers' core. It does not outlive this one. What
// it logs goes through a pipe, as in a container.
func launch(t testing.TB, address, name string, args ...string) *process {
	t.Helper()
	command := append([]string{filepath.Join(binaries, name)}, args...)
	if runtime.NumCPU() > 1 || pinned {
		command = append([]string{"taskset", "-c", serverCore}, command...)
	}
	var said bytes.Buffer
	p := &process{address: address, command: exec.Command(command[0], command[1:]...)}
	p.command.Stdout, p.command.Stderr = io.Discard, &limited{Buffer: &said}
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// A writer that is no file makes a pipe.
	p.command.Stdout = struct{ io.Writer }{io.Discard}
	require.NoError(t, p.command.Start())
	t.Cleanup(func() {
		_ = p.command.Process.Kill()
		_ = p.command.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, said.String())
		}
	})
	return p
}

// listening waits until the process takes connections.
func (p *process) listening(t testing.TB) {
	t.Helper()
	testenv.Eventually(t, func(r *require.Assertions) {
		connection, err := net.Dial("tcp", p.address)
		r.NoError(err)
		_ = connection.Close()
	})
}

// limited keeps the beginning of what is written.
type limited struct{ *bytes.Buffer }

func (l *limited) Write(data []byte) (int, error) {
	if l.Len() < 16<<10 {
		l.Buffer.Write(data)
	}
	return len(data), nil
}

func freeAddress(t testing.TB) string {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// app is a client both servers know.
type app struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
	Scope  string `json:"scope"`
}

// form is a body by which the app authenticates.
func (a app) form(pairs ...string) string {
	values := url.Values{"client_id": {a.ID}, "client_secret": {a.Secret}}
	for i := 0; i < len(pairs); i += 2 {
		values.Set(pairs[i], pairs[i+1])
	}
	return values.Encode()
}

// json is the same as an object.
func (a app) json(t testing.TB, pairs ...string) string {
	t.Helper()
	object := map[string]string{"client_id": a.ID, "client_secret": a.Secret}
	for i := 0; i < len(pairs); i += 2 {
		object[pairs[i]] = pairs[i+1]
	}
	text, err := json.Marshal(object)
	require.NoError(t, err)
	return string(text)
}

// installation is a token server on SQLite, with a log of every request and an
// audit log.
type installation struct {
	config, listen, operations string
	admin                      app
}

func newInstallation(t testing.TB) *installation {
	t.Helper()
	folder := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	i := &installation{listen: freeAddress(t), operations: freeAddress(t), admin: app{ID: adminID, Secret: "cas_0123456789abcdef0123456789abcdef"}}
	i.config = write("tokenserver.yaml", `publicURL: http://`+i.listen+`
listen: `+i.listen+`
operationsListen: `+i.operations+`
storage: {sqlite: {path: `+filepath.Join(folder, "tokenserver.db")+`}}
encryptionKeyFiles: [`+write("encryption-key", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))+`]
bootstrap: {adminClient: {clientID: `+adminID+`, clientSecretFile: `+write("client-secret", i.admin.Secret)+`}}
organizations: [{id: `+orgID+`, name: Main, ownerID: `+ownerID+`}]
users: [{id: `+ownerID+`, organizationID: `+orgID+`, username: owner}]
`)
	return i
}

// start returns when the server is ready.
func (i *installation) start(t testing.TB) *process {
	t.Helper()
	p := launch(t, i.listen, "tokenserver", "serve", "--config="+i.config)
	testenv.Eventually(t, func(r *require.Assertions) {
		response, err := http.Get("http://" + i.operations + "/readyz")
		r.NoError(err)
		defer func() { _ = response.Body.Close() }()
		r.Equal(http.StatusOK, response.StatusCode)
	})
	return p
}

func register(t testing.TB, p *process, admin app, n int) []app {
	t.Helper()
	var issued oauth.TokenResponse
	form := request(p.address, oauth.PathToken, "application/x-www-form-urlencoded", admin.form("grant_type", oauth.GrantClientCredentials))
	require.NoError(t, json.Unmarshal(post(t, p.address, form), &issued))
	apps := make([]app, n)
	for i := range apps {
		body := fmt.Sprintf(`{"client_name": "App %d", "grant_types": ["client_credentials"], "scopes": ["profile"], "audience": "internal"}`, i)
		create, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.address+oauth.PathConnectedApps, strings.NewReader(body))
		require.NoError(t, err)
		create.Header.Set("Authorization", "Bearer "+issued.AccessToken)
		create.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(create)
		require.NoError(t, err)
		answer, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		_ = response.Body.Close()
		require.Equal(t, http.StatusCreated, response.StatusCode, "%s", answer)
		var created oauth.ConnectedApp
		require.NoError(t, json.Unmarshal(answer, &created))
		apps[i] = app{created.ClientID, created.ClientSecret, "profile"}
	}
	return apps
}

// startCeiling starts the ceiling program with the same apps.
func startCeiling(t testing.TB, apps []app) *process {
	t.Helper()
	text, err := json.Marshal(apps)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "clients.json")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	listen := freeAddress(t)
	p := launch(t, listen, "ceiling", "--listen="+listen, "--clients="+file)
	p.listening(t)
	return p
}
