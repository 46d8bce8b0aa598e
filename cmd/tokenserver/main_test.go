// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
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
	if err := errors.Join(build.Run(), os.Chmod(dir, 0o755)); err == nil { //nolint:gosec // holds nothing but the binary
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

func TestStartErrorsSayWhatWhyAndWhatToDo(t *testing.T) {
	for name, test := range map[string]struct {
		prepare    func(s *site)
		want, hint string
	}{
		"no configuration": {
			func(s *site) { require.NoError(s.t, os.Remove(s.path("tokenserver.yaml"))) },
			"tokenserver: loading tokenserver.yaml: reading the configuration: open tokenserver.yaml: no such file or directory",
			"--config names the file",
		},
		"a corrupt configuration": {
			func(s *site) { s.write("tokenserver.yaml", "publicURL: [\n") },
			"tokenserver: loading tokenserver.yaml: line 1: is not YAML", "tokenserver config check FILE",
		},
		"several problems": {
			func(s *site) { s.edit("publicURL: http://", "publicUrl: http://"); s.edit("name: Main", "name: ''") },
			"3 problems\n  publicURL: is required: how clients reach the server, such as https://id.example.com\n" +
				"  line 1: publicUrl: unknown field; did you mean publicURL?\n  line 8: organizations[0].name: is required\n", "correct the file",
		},
		"a missing encryption key": {
			func(s *site) { require.NoError(s.t, os.Remove(s.path("encryption-key"))) },
			"encryptionKeyFiles[0]: reading encryption key: stat encryption-key: no such file", "correct the file",
		},
		"a missing secret": {
			func(s *site) { require.NoError(s.t, os.Remove(s.path("client-secret"))) },
			"bootstrap.adminClient.clientSecretFile: open client-secret: no such file", "correct the file",
		},
		"a missing folder for the database": {
			func(s *site) { s.edit("path: tokenserver.db", "path: data/tokenserver.db") },
			"tokenserver: opening database data/tokenserver.db: its folder data does not exist", "make the folder",
		},
		"a database that is none": {
			func(s *site) { s.write("tokenserver.db", strings.Repeat("this is no database ", 100)) },
			"opening database tokenserver.db: reading the schema's version: ", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			test.prepare(s)
			_, stderr, code := s.command("", "serve")
			require.Equal(t, 1, code, stderr)
			require.Contains(t, stderr, test.want)
			if test.hint != "" {
				require.Contains(t, stderr, "\nhint: ")
				require.Contains(t, stderr, test.hint)
			}
			require.NotContains(t, stderr, canary)
		})
	}
}

func TestAWrongEncryptionKeyIsRefusedAndHarmsNothing(t *testing.T) {
	s := newSite(t)
	r := s.start().ready()
	r.terminate()
	require.Zero(t, r.exit())

	good, err := os.ReadFile(s.path("encryption-key"))
	require.NoError(t, err)
	s.write("encryption-key", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{8}, 32)))
	_, stderr, code := s.command("", "serve")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "tokenserver: opening the keys of database tokenserver.db: no encryption key fits this database")
	require.Contains(t, stderr, "hint: put the key that this database was made with back")

	s.write("encryption-key", string(good))
	status, _ := s.start().ready().token(canary)
	require.Equal(t, http.StatusOK, status)
}

func TestAFolderThatMayNotBeWrittenIsNamed(t *testing.T) {
	s := newSite(t)
	data := t.TempDir()
	s.edit("path: tokenserver.db", "path: "+filepath.Join(data, "tokenserver.db"))
	cmd := exec.CommandContext(t.Context(), binary, "serve")
	if os.Geteuid() == 0 {
		// Nothing is forbidden to root: somebody else tries.
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		for dir := s.dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
			require.NoError(t, os.Chmod(dir, 0o755)) //nolint:gosec // a folder of this test
		}
		for _, file := range []string{"tokenserver.yaml", "encryption-key", "client-secret"} {
			require.NoError(t, os.Chown(s.path(file), 65534, 65534))
		}
	}
	require.NoError(t, os.Chmod(data, 0o555)) //nolint:gosec // a folder of this test
	_, stderr, code := s.finish(cmd, "")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "tokenserver: opening database "+filepath.Join(data, "tokenserver.db")+": open ")
	require.Contains(t, stderr, "permission denied\nhint: let the user that runs tokenserver read its files and write the folder")
}

func TestNoRoomForTheDatabaseIsSaid(t *testing.T) {
	s := newSite(t)
	// 8 KiB: enough to begin, too little for the schema.
	cmd := exec.CommandContext(t.Context(), "bash", "-c", `ulimit -f 8; exec "$0" serve`, binary)
	_, stderr, code := s.finish(cmd, "")
	require.Equal(t, 1, code, stderr)
	require.Contains(t, stderr, "tokenserver: opening database tokenserver.db: ")
	require.Contains(t, stderr, "\nhint: free space on the file system of the database")
	require.NotContains(t, stderr, "goroutine")

	s.start().ready()
}

func TestASecondServerOnTheSameDatabaseIsRefused(t *testing.T) {
	r := newSite(t).start().ready()
	_, stderr, code := r.command("", "serve")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "tokenserver: opening database tokenserver.db: the database is in use by another process\nhint: stop the other tokenserver first")
	status, _ := r.token(canary)
	require.Equal(t, http.StatusOK, status, "the first goes on")
}

func TestAPortInUseIsNamed(t *testing.T) {
	s := newSite(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	s.edit("operationsListen: 127.0.0.1:0", "operationsListen: "+taken.Addr().String())
	_, stderr, code := s.command("", "serve")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "tokenserver: listening for operations: listen tcp "+taken.Addr().String()+": bind: address already in use\nhint: another process listens there")
	s.start("--operations-listen=127.0.0.1:0").ready()
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
	r.eventually("waits", func() bool { return strings.Contains(r.log.String(), "waiting for files") })
	r.terminate()
	require.Zero(t, r.exit())
}

// metric returns the lines of a metric.
func (r *server) metric(name string) string {
	response, err := http.Get("http://" + r.operations + "/metrics")
	if err != nil {
		return ""
	}
	defer func() { _ = response.Body.Close() }()
	content, _ := io.ReadAll(response.Body)
	var lines []string
	for line := range strings.Lines(string(content)) {
		if strings.HasPrefix(line, name) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.Join(lines, "\n")
}

// organization asks for the name of the administrator's organization.
func (r *server) organization() string {
	_, token := r.token(canary)
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+r.public+"/accounts/api/organizations/"+orgID, nil)
	require.NoError(r.t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	require.NoError(r.t, err)
	defer func() { _ = response.Body.Close() }()
	var body struct{ Name string }
	_ = json.NewDecoder(response.Body).Decode(&body)
	return body.Name
}

func TestAnEditOfTheConfigurationIsTakenOver(t *testing.T) {
	r := newSite(t).start().ready()
	require.Equal(t, "Main", r.organization())

	r.edit("name: Main", "name: Head Office")
	r.eventually("the new name", func() bool { return r.organization() == "Head Office" })

	r.edit("name: Head Office", "name: ''")
	failed := `tokenserver_config_reload_failed{files="configuration"} 1`
	r.eventually("the metric tells", func() bool { return strings.Contains(r.metric("tokenserver_config_reload_failed"), failed) })
	require.Equal(t, "Head Office", r.organization(), "a bad edit keeps what was there")
	require.Contains(t, r.log.String(), "organizations[0].name: is required")
	require.Contains(t, r.log.String(), "level=ERROR")

	r.edit("name: ''", "name: Third")
	r.edit("publicURL:", "accessTokenLifetime: 2h\npublicURL:")
	r.eventually("the third name", func() bool { return r.organization() == "Third" })
	require.Contains(t, r.log.String(), `msg="these settings take effect after a restart" settings=accessTokenLifetime`)
	r.eventually("the metric is back", func() bool { return !strings.Contains(r.metric("tokenserver_config_reload_failed"), failed) })
}

func TestAChangedSecretReplacesTheOldOne(t *testing.T) {
	r := newSite(t).start().ready()
	const next = "cas_next0123456789abcdefghijklmnopqrstuvwxyz"
	r.write("client-secret", next)
	r.eventually("the new secret is accepted", func() bool {
		status, _ := r.token(next)
		return status == http.StatusOK
	})
	status, _ := r.token(canary)
	require.Equal(t, http.StatusUnauthorized, status)
	require.NotContains(t, r.log.String(), next)

	r.write("client-secret", "short")
	r.eventually("said", func() bool { return strings.Contains(r.log.String(), "must hold one line of 16 to 512") })
	status, _ = r.token(next)
	require.Equal(t, http.StatusOK, status, "a bad file keeps the secret")
}

// certificate writes a new certificate and key and returns its pool.
func (s *site) certificate() *x509.CertPool {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(s.t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(s.t, err)
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(s.t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(s.t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(s.t, err)
	s.write("tls.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	s.write("tls.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	pool := x509.NewCertPool()
	pool.AddCert(certificate)
	return pool
}

func (r *server) httpsProto(config *tls.Config) string {
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get("https://" + r.public + "/accounts/api/v2/oauth2/jwks")
	if err != nil {
		return err.Error()
	}
	_ = response.Body.Close()
	return response.Proto
}

func TestTLSIsServedAndItsCertificateRenewed(t *testing.T) {
	s := newSite(t)
	first := s.certificate()
	s.edit("publicURL: http:", "tlsCertFile: tls.crt\ntlsKeyFile: tls.key\npublicURL: https:")
	r := s.start().ready()
	require.Equal(t, "HTTP/2.0", r.httpsProto(&tls.Config{RootCAs: first}))
	require.Contains(t, r.httpsProto(&tls.Config{RootCAs: first, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}), "protocol version") //nolint:gosec // to be refused

	second := s.certificate()
	r.eventually("the new certificate", func() bool { return r.httpsProto(&tls.Config{RootCAs: second}) == "HTTP/2.0" })

	s.write("tls.crt", "half a certificate")
	r.eventually("said", func() bool { return strings.Contains(r.log.String(), "loading the certificate") })
	require.Equal(t, "HTTP/2.0", r.httpsProto(&tls.Config{RootCAs: second}), "a bad file keeps the certificate")
}

func TestConfigCheck(t *testing.T) {
	s := newSite(t)
	stdout, _, code := s.command("", "config", "check", "tokenserver.yaml")
	require.Zero(t, code)
	require.Contains(t, stdout, "tokenserver.yaml: warning: publicURL is plain http")
	require.Contains(t, stdout, "tokenserver.yaml: ok: 1 organizations, 1 users\n")

	s.edit("encryptionKeyFiles: [encryption-key]", "encryptionKeyFiles: [other-key]")
	_, stderr, code := s.command("", "config", "check", "tokenserver.yaml")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "tokenserver: checking tokenserver.yaml: line 5: encryptionKeyFiles[0]: reading encryption key: stat other-key")
	_, _, code = s.command("", "config", "check", "--skip-files", "tokenserver.yaml")
	require.Zero(t, code)
}

func TestTheDeployedAndTheDocumentedConfigurationAreValid(t *testing.T) {
	s := newSite(t)
	deployed, err := filepath.Abs("../../config/tokenserver/config.yaml")
	require.NoError(t, err)
	page, err := os.ReadFile("../../docs/tokenserver-configuration.md")
	require.NoError(t, err)
	_, example, found := strings.Cut(string(page), "```yaml\n")
	require.True(t, found)
	example, _, found = strings.Cut(example, "```\n")
	require.True(t, found)
	s.write("example.yaml", example)
	for _, path := range []string{deployed, "example.yaml"} {
		stdout, stderr, code := s.command("", "config", "check", "--skip-files", path)
		require.Zero(t, code, stderr)
		require.NotContains(t, stdout, "warning")
	}
}

func TestUserHashReadsStandardInputAndNeverAnArgument(t *testing.T) {
	s := newSite(t)
	stdout, stderr, code := s.command("correct horse\n", "user", "hash")
	require.Zero(t, code, stderr)
	require.Regexp(t, `^\$argon2id\$v=19\$m=19456,t=2,p=1\$[^$]+\$[^$]+\n$`, stdout)
	require.NotContains(t, stdout+stderr, "horse")

	_, stderr, code = s.command("", "user", "hash", "hunter2")
	require.Equal(t, 2, code)
	require.NotContains(t, stderr, "hunter2")
	_, stderr, code = s.command("\n", "user", "hash")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "tokenserver: hashing password: it must have 1 to 1024 bytes")
}

func (r *server) keyIDs() []string {
	r.t.Helper()
	response, err := http.Get("http://" + r.public + "/accounts/api/v2/oauth2/jwks")
	require.NoError(r.t, err)
	defer func() { _ = response.Body.Close() }()
	var set struct{ Keys []struct{ Kid string } }
	require.NoError(r.t, json.NewDecoder(response.Body).Decode(&set))
	var ids []string
	for _, key := range set.Keys {
		ids = append(ids, key.Kid)
	}
	return ids
}

func TestKeysAreRotatedAndRewrappedWhileTheServerIsDown(t *testing.T) {
	s := newSite(t)
	_, stderr, code := s.command("", "keys", "rotate")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "tokenserver: opening the database: stat tokenserver.db: no such file or directory\nhint: tokenserver serve makes the database")
	require.NoFileExists(t, s.path("tokenserver.db"))

	r := s.start().ready()
	before := r.keyIDs()
	for _, command := range []string{"rotate", "rewrap"} {
		_, stderr, code = s.command("", "keys", command)
		require.Equal(t, 1, code)
		require.Contains(t, stderr, "the database is in use by another process\nhint: stop the server first")
	}
	r.terminate()
	require.Zero(t, r.exit())

	stdout, stderr, code := s.command("", "keys", "rotate", "--revoke")
	require.Zero(t, code, stderr)
	s.write("second-key", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{9}, 32)))
	s.edit("[encryption-key]", "[second-key, encryption-key]")
	rewrapped, stderr, code := s.command("", "keys", "rewrap")
	require.Zero(t, code, stderr)
	require.Equal(t, "6 keys are encrypted with the first encryption key\n", rewrapped)
	s.edit("[second-key, encryption-key]", "[second-key]")

	r = s.start().ready()
	after := r.keyIDs()
	require.Len(t, after, 2)
	for _, id := range after {
		require.NotContains(t, before, id)
		require.Contains(t, stdout, id)
	}
	status, _ := r.token(canary)
	require.Equal(t, http.StatusOK, status, "secrets stay valid")
}

func TestWrongUsageExitsWithTwo(t *testing.T) {
	s := newSite(t)
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"an unknown command":          {[]string{"run"}, `unknown command "run"`},
		"an unknown command of keys":  {[]string{"keys", "delete"}, `unknown command "delete"`},
		"an unknown flag":             {[]string{"serve", "--secret=x"}, "unknown flag: --secret"},
		"an unknown log format":       {[]string{"serve", "--log-format=xml"}, `--log-format must be text or json, not "xml"`},
		"an unknown log level":        {[]string{"serve", "--log-level=loud"}, "--log-level must be debug, info, warn or error"},
		"a drain longer than allowed": {[]string{"serve", "--drain-delay=1m"}, "--drain-delay must be from 0s to 20s"},
		"no file to check":            {[]string{"config", "check"}, "accepts 1 arg(s), received 0"},
	} {
		t.Run(name, func(t *testing.T) {
			_, stderr, code := s.command("", test.args...)
			require.Equal(t, 2, code)
			require.Contains(t, stderr, "tokenserver: "+test.want)
			require.Contains(t, stderr, "\nhint: ")
		})
	}
}

func TestHelpTeachesWithExamplesAndShowsEveryDefault(t *testing.T) {
	s := newSite(t)
	for _, args := range [][]string{{"serve"}, {"config", "check"}, {"user", "hash"}, {"keys", "rotate"}, {"keys", "rewrap"}} {
		stdout, _, code := s.command("", append(args, "--help")...)
		require.Zero(t, code)
		require.Contains(t, stdout, "Examples:\n  ")
		_, flags, _ := strings.Cut(stdout, "Flags:\n")
		for line := range strings.Lines(flags) {
			if strings.Contains(line, "--") && !strings.Contains(line, "--help") {
				require.Contains(t, line, "(default", line)
			}
		}
	}
	stdout, _, code := s.command("", "version")
	require.Zero(t, code)
	require.Equal(t, "dev\n", stdout)
}

func TestAVariableSetsAFlagBelowTheArguments(t *testing.T) {
	s := newSite(t)
	cmd := exec.CommandContext(t.Context(), binary, "serve")
	cmd.Env = append(os.Environ(), "TOKENSERVER_LOG_FORMAT=xml")
	_, stderr, code := s.finish(cmd, "")
	require.Equal(t, 2, code)
	require.Contains(t, stderr, `--log-format must be text or json, not "xml"`)
}
