// SPDX-License-Identifier: Apache-2.0

package floods

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// memoryMiB is what config/tokenserver limits the container to.
const memoryMiB = 256

const (
	orgID    = "11111111-1111-4111-8111-111111111111"
	ownerID  = "44444444-4444-4444-8444-444444444444"
	password = "correct horse battery staple"
	secret   = "a-secret-of-many-characters-0123456789"
)

var binary string

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "floods-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(folder, "tokenserver")
	code := 1
	if err := build(); err != nil {
		fmt.Fprintf(os.Stderr, "building the token server: %v\n", err)
	} else {
		code = m.Run()
	}
	_ = os.RemoveAll(folder)
	os.Exit(code)
}

func build() error {
	command := exec.Command("go", "build", "-o", binary, "./cmd/tokenserver")
	command.Dir = testenv.ModuleRoot()
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		return errors.Join(err, errors.New(string(out)))
	}
	return nil
}

// server is a running token server.
type server struct {
	listen, operations string
	tls                *tls.Config
	pid                int
	log                *logged
}

// start returns when the server is ready. secured ends TLS in it; settings are
// more of the configuration.
func start(t *testing.T, secured bool, settings string) *server {
	t.Helper()
	folder := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	hash, err := user.HashPassword(password)
	require.NoError(t, err)
	s := &server{listen: freeAddress(t), operations: freeAddress(t), log: &logged{}}
	scheme := "http"
	if secured {
		scheme = "https"
		var certificate, key string
		s.tls, certificate, key = borrowedCertificate(t)
		settings += "\ntlsCertFile: " + write("tls.crt", certificate) + "\ntlsKeyFile: " + write("tls.key", key)
	}
	secretFile := write("secret", secret)
	config := write("tokenserver.yaml", `publicURL: `+scheme+`://`+s.listen+`
listen: `+s.listen+`
operationsListen: `+s.operations+`
storage: {sqlite: {path: `+filepath.Join(folder, "tokenserver.db")+`}}
encryptionKeyFiles: [`+write("encryption-key", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))+`]
bootstrap: {adminClient: {clientID: administrator, clientSecretFile: `+secretFile+`}}
organizations: [{id: `+orgID+`, name: Main, ownerID: `+ownerID+`, identityProviders: [{id: corporate, name: Corporate}]}]
users: [{id: `+ownerID+`, organizationID: `+orgID+`, username: owner, passwordHashFile: `+write("owner.hash", hash)+`}]
trustedProxies: [127.0.0.0/8]
apps:
- {clientID: job, clientName: Job, grantTypes: [client_credentials], scopes: [read:applications], clientSecretFile: `+secretFile+`}
- {clientID: forms, clientName: Forms, grantTypes: [password], scopes: [profile], clientSecretFile: `+secretFile+`}
- {clientID: portal, clientName: Portal, grantTypes: [authorization_code], scopes: [openid], redirectURIs: [https://portal.example.com/callback], clientSecretFile: `+secretFile+`}
- clientID: asserting
  clientName: Asserting
  grantTypes: ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
  scopes: [profile]
  identityProviders: [corporate]
  tokenEndpointAuthMethod: private_key_jwt
  publicKeyFiles: [`+write("public-key", publicKey(t))+`]
`+settings)
	s.run(t, config)
	return s
}

// run starts the binary on one core, where a machine has more, so that the clients
// take nothing from it. It does not outlive the test.
func (s *server) run(t *testing.T, config string) {
	t.Helper()
	command := exec.Command(binary, "serve", "--config="+config, "--log-format=json")
	if _, err := exec.LookPath("taskset"); err == nil && runtime.NumCPU() > 1 {
		command = exec.Command("taskset", append([]string{"-c", "0", binary}, command.Args[1:]...)...)
	}
	command.Env = append(os.Environ(), fmt.Sprintf("GOMEMLIMIT=%d000000B", memoryMiB))
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := command.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	s.pid = command.Process.Pid
	read := make(chan struct{})
	go func() { s.log.read(stderr); close(read) }()
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		<-read
		_ = command.Wait()
		if t.Failed() {
			t.Logf("the server's last lines:\n%s", s.log.tail())
		}
	})
	testenv.Eventually(t, func(r *require.Assertions) { r.Equal(http.StatusOK, s.ready()) })
}

// ready is the status of /readyz; 0 without an answer.
func (s *server) ready() int {
	response, err := http.Get("http://" + s.operations + "/readyz")
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// peak is the most memory that the process held at once, in MiB.
func (s *server) peak(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	require.NoError(t, err)
	_, after, _ := bytes.Cut(status, []byte("VmHWM:"))
	kib, err := strconv.Atoi(string(bytes.Fields(after)[0]))
	require.NoError(t, err)
	return kib >> 10
}

// cpu is what the process has used so far.
func (s *server) cpu(t *testing.T) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.pid))
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

// dial opens a connection, without a handshake of TLS. It gives up when the kernel
// takes none, which it would go on trying for minutes.
func (s *server) dial(ctx context.Context) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: 2 * time.Second}
	return dialer.DialContext(ctx, "tcp", s.listen)
}

// connect opens one that requests can be sent on.
func (s *server) connect() (net.Conn, error) {
	dialer := &net.Dialer{Timeout: 2 * time.Second}
	if s.tls == nil {
		return dialer.Dial("tcp", s.listen)
	}
	return tls.DialWithDialer(dialer, "tcp", s.listen, s.tls)
}

// logged counts what a process logs and keeps the last of it.
type logged struct {
	// reading is held by the test while nobody reads.
	reading        sync.Mutex
	mu             sync.Mutex
	lines, longest int
	last           []string
	lost           bool
}

func (l *logged) read(from io.Reader) {
	reader := bufio.NewReader(from)
	for {
		l.reading.Lock()
		line, err := reader.ReadString('\n')
		l.reading.Unlock()
		if err != nil {
			return
		}
		l.mu.Lock()
		l.lines, l.longest = l.lines+1, max(l.longest, len(line))
		l.last = append(l.last[max(0, len(l.last)-20):], line[:min(len(line), 500)])
		l.lost = l.lost || strings.Contains(line, "log lines were lost")
		l.mu.Unlock()
	}
}

func (l *logged) count() (lines, longest int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines, l.longest
}

// toldOfLost tells whether a line said that others are missing.
func (l *logged) toldOfLost() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

func (l *logged) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.last, "\n")
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().String()
}

// borrowedCertificate is that of net/http's tests, for 127.0.0.1.
func borrowedCertificate(t *testing.T) (client *tls.Config, certificate, key string) {
	t.Helper()
	borrowed := httptest.NewTLSServer(nil)
	defer borrowed.Close()
	pair := borrowed.TLS.Certificates[0]
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(borrowed.Certificate())
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// token is one of the administrator's.
func (s *server) token(t *testing.T) string {
	t.Helper()
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	response, err := http.PostForm("http://"+s.listen+oauth.PathToken, url.Values{
		"grant_type": {oauth.GrantClientCredentials}, "client_id": {"administrator"}, "client_secret": {secret},
	})
	require.NoError(t, err)
	defer response.Body.Close()
	require.NoError(t, json.NewDecoder(response.Body).Decode(&answer))
	return answer.AccessToken
}
