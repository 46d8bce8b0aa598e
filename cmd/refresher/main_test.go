// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/atomicfile"
)

const canary = "cas_Canary0123456789Canary0123456789Canary01234"

// binary is the refresher as it is shipped, built once for all tests: without
// HTTP/2, which its transport does not speak and its budgets would pay for.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "refresher-test-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "refresher")
	build := exec.Command("go", "build", "-tags=nethttpomithttp2", "-trimpath", "-ldflags=-s -w -X main.version=v9.9.9", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the refresher: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// credentialsDir writes the files of a credentials Secret.
func credentialsDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	return dir
}

// tokenEndpoint answers every request with a token of one hour.
func tokenEndpoint(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"access_token":"the-token","token_type":"bearer","expires_in":3600}`)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// process is a running refresher.
type process struct {
	*exec.Cmd
	output *syncBuffer
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.CommandContext(t.Context(), binary, args...), output: &syncBuffer{}}
	p.Stdout, p.Stderr = p.output, p.output
	require.NoError(t, p.Start())
	t.Cleanup(func() {
		if p.ProcessState == nil {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
	})
	return p
}

func (p *process) exitCode() int {
	_ = p.Wait()
	return p.ProcessState.ExitCode()
}

// healthURL waits for the log line that tells the probes' address.
func (p *process) healthURL(t *testing.T) string {
	t.Helper()
	var address string
	require.Eventually(t, func() bool {
		for line := range strings.SplitSeq(p.output.String(), "\n") {
			var event struct{ Msg, Address string }
			if json.Unmarshal([]byte(line), &event) == nil && event.Msg == "serving probes" {
				address = event.Address
			}
		}
		return address != ""
	}, 10*time.Second, 5*time.Millisecond, "the probes are served")
	return "http://" + address
}

func probe(t *testing.T, url string) int {
	t.Helper()
	response, err := http.Get(url)
	require.NoError(t, err)
	_ = response.Body.Close()
	return response.StatusCode
}

func eventuallyProbe(t *testing.T, url string, want int) {
	t.Helper()
	require.Eventually(t, func() bool { return probe(t, url) == want }, 30*time.Second, 10*time.Millisecond, "%s answers %d", url, want)
}

func TestMisconfigurationEndsWithStatus2AndAllReasons(t *testing.T) {
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{"--mode=9", "--credentials-dir=/no/such"}, func(string) string { return "" }, &stdout, &stderr)
	require.Equal(t, exitUsage, code)
	require.Contains(t, stderr.String(), "octal")
	require.Contains(t, stderr.String(), "refresher --help explains the flags")
	require.Empty(t, stdout.String())
}

func TestHelpAndVersion(t *testing.T) {
	out, err := exec.Command(binary, "--help").Output()
	require.NoError(t, err)
	require.Contains(t, string(out), "Example:")
	out, err = exec.Command(binary, "--version").Output()
	require.NoError(t, err)
	require.Equal(t, "v9.9.9\n", string(out))
}

func TestOutputThatCannotBeWrittenEndsAtOnce(t *testing.T) {
	p := start(t, "--credentials-dir="+credentialsDir(t, nil), "--output-dir=/proc/token")
	require.Equal(t, exitFailed, p.exitCode())
	require.Contains(t, p.output.String(), "checking --output-dir: making the directory")
}

func TestAnotherRefreshersDirectoryIsRefused(t *testing.T) {
	out := t.TempDir()
	credentials := credentialsDir(t, map[string]string{"client-id": "a", "client-secret": "b", "token-url": tokenEndpoint(t)})
	first := start(t, "--log-format=json", "--health-listen=127.0.0.1:0", "--output-dir="+out, "--credentials-dir="+credentials)
	eventuallyProbe(t, first.healthURL(t)+"/startupz", http.StatusOK)
	second := start(t, "--output-dir="+out, "--credentials-dir="+credentials)
	require.Equal(t, exitFailed, second.exitCode())
	require.Contains(t, second.output.String(), "another process writes to it")
	require.NoError(t, first.Process.Kill())
	_ = first.Wait()
	require.Equal(t, 0, start(t, "--once", "--output-dir="+out, "--credentials-dir="+credentials).exitCode(), "the dead one holds nothing")
}

func TestPortInUseEndsAtOnce(t *testing.T) {
	taken := strings.TrimPrefix(tokenEndpoint(t), "http://")
	p := start(t, "--credentials-dir="+credentialsDir(t, nil), "--output-dir="+t.TempDir(), "--health-listen="+taken)
	require.Equal(t, exitFailed, p.exitCode())
	require.Contains(t, p.output.String(), "address already in use")
}

func TestOnceWritesOneToken(t *testing.T) {
	out := t.TempDir()
	p := start(t, "--once", "--mode=0400", "--output-dir="+out,
		"--credentials-dir="+credentialsDir(t, map[string]string{"CLIENT_ID": "a", "CLIENT_SECRET": canary, "TOKEN_URL": tokenEndpoint(t)}))
	require.Equal(t, 0, p.exitCode(), p.output)
	content, err := os.ReadFile(filepath.Join(out, "access-token"))
	require.NoError(t, err)
	require.Equal(t, "the-token", string(content))
	info, err := os.Stat(filepath.Join(out, "access-token"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o400), info.Mode().Perm())
}

func TestOnceSaysWhyThereIsNoToken(t *testing.T) {
	p := start(t, "--once", "--once-timeout=1s", "--output-dir="+t.TempDir(),
		"--credentials-dir="+credentialsDir(t, map[string]string{"client-id": "a", "client-secret": canary}))
	require.Equal(t, exitFailed, p.exitCode())
	require.Contains(t, p.output.String(), "token-url is missing")
	require.NotContains(t, p.output.String(), canary)
}

func TestSignalsEndItWithStatus0AtAnyMoment(t *testing.T) {
	for _, signal := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run("while asleep, "+signal.String(), func(t *testing.T) {
			p := start(t, "--log-format=json", "--health-listen=127.0.0.1:0", "--output-dir="+t.TempDir(),
				"--credentials-dir="+credentialsDir(t, map[string]string{"client-id": "a", "client-secret": "b", "token-url": tokenEndpoint(t)}))
			eventuallyProbe(t, p.healthURL(t)+"/startupz", http.StatusOK)
			require.NoError(t, p.Process.Signal(signal))
			require.Equal(t, 0, p.exitCode(), p.output)
		})
	}
	t.Run("while waiting for an answer", func(t *testing.T) {
		asked, release := make(chan struct{}), make(chan struct{})
		s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(asked); <-release }))
		defer s.Close()
		defer close(release)
		p := start(t, "--output-dir="+t.TempDir(),
			"--credentials-dir="+credentialsDir(t, map[string]string{"client-id": "a", "client-secret": "b", "token-url": s.URL}))
		<-asked
		require.NoError(t, p.Process.Signal(syscall.SIGTERM))
		require.Equal(t, 0, p.exitCode(), p.output)
	})
}

func TestCredentialsThatArriveLaterAreTakenUp(t *testing.T) {
	credentials, out := t.TempDir(), t.TempDir()
	p := start(t, "--log-format=json", "--health-listen=127.0.0.1:0", "--output-dir="+out, "--credentials-dir="+credentials)
	url := p.healthURL(t)
	require.Eventually(t, func() bool { return strings.Contains(p.output.String(), "client-id is missing") }, 10*time.Second, 5*time.Millisecond)
	require.Equal(t, http.StatusServiceUnavailable, probe(t, url+"/startupz"))
	for name, content := range map[string]string{"client-id": "a", "client-secret": "b", "token-url": tokenEndpoint(t)} {
		require.NoError(t, os.WriteFile(filepath.Join(credentials, name), []byte(content), 0o600))
	}
	eventuallyProbe(t, url+"/startupz", http.StatusOK)
}

// A token of an hour is replaced when its credentials are, and an edit beside them
// asks for nothing.
func TestReplacedCredentialsAreTakenUpAtOnce(t *testing.T) {
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		_, _ = fmt.Fprintf(w, `{"access_token":"token-of-%s","token_type":"bearer","expires_in":3600}`, r.FormValue("client_id"))
	}))
	defer s.Close()
	credentials, out := t.TempDir(), t.TempDir()
	mount := func(id, scopes string) {
		require.NoError(t, atomicfile.Dir{Path: credentials}.Write(map[string][]byte{
			"client-id": []byte(id), "client-secret": []byte("b"), "token-url": []byte(s.URL), "scopes": []byte(scopes),
		}))
	}
	eventuallyToken := func(want string) {
		require.Eventually(t, func() bool {
			content, err := os.ReadFile(filepath.Join(out, "access-token"))
			return err == nil && string(content) == want
		}, 30*time.Second, 10*time.Millisecond, want)
	}
	mount("first", "a")
	start(t, "--output-dir="+out, "--credentials-dir="+credentials)
	eventuallyToken("token-of-first")
	mount("first", "b")
	mount("second", "b")
	eventuallyToken("token-of-second")
	require.EqualValues(t, 2, asked.Load())
}

func TestTheBinaryIsSmallAndStatic(t *testing.T) {
	info, err := os.Stat(binary)
	require.NoError(t, err)
	require.LessOrEqual(t, info.Size(), int64(8<<20), "8 MiB stripped")
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	for dependency := range strings.Lines(string(out)) {
		if strings.TrimSpace(dependency) != "sigs.k8s.io/yaml" {
			require.NotContains(t, dependency, "k8s.io", "no Kubernetes client in file mode")
		}
	}
}
