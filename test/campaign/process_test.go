// SPDX-License-Identifier: Apache-2.0

package campaign

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"

	"connectedapps.dev/operator/internal/testenv"
)

// process is a running binary of ours.
type process struct {
	command *exec.Cmd
	done    chan struct{} // closed when it is gone
	metrics string        // the URL of its metrics
}

// environment is what config/manager/manager.yaml sets.
var environment = map[string][]string{"manager": {"GOGC=50", "GOMEMLIMIT=256000000B"}}

// launch starts a binary that does not outlive this one.
func launch(t testing.TB, log io.Writer, name string, args ...string) *process {
	t.Helper()
	command := exec.Command(filepath.Join(binaries, name), args...)
	command.Stdout, command.Stderr = log, log
	command.Env = append(os.Environ(), environment[name]...)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, command.Start())
	p := &process{command: command, done: make(chan struct{})}
	go func() {
		_ = command.Wait()
		close(p.done)
	}()
	t.Cleanup(p.kill)
	return p
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.command.Process.Signal(syscall.SIGKILL)
	<-p.done
}

// terminate stops it as Kubernetes does.
func (p *process) terminate() {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	<-p.done
}

// startManager starts the manager against the API server at address, which asks
// nobody who they are.
func startManager(t testing.TB, log io.Writer, address string, args ...string) *process {
	t.Helper()
	return startManagerWith(t, log, kubeconfigOf(&rest.Config{Host: address}), args...)
}

func startManagerWith(t testing.TB, log io.Writer, kubeconfig []byte, args ...string) *process {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(file, kubeconfig, 0o600))
	metrics := freeAddress(t)
	p := launch(t, log, "manager", append([]string{
		"--kubeconfig=" + file, "--namespace=" + testenv.SystemNamespace, "--health-probe-bind-address=0", "--metrics-bind-address=" + metrics,
		"--metrics-secure=false", "--probe-interval=1s", "--log-level=debug", "--minimum-token-lifetime=1s",
	}, args...)...)
	p.metrics = "http://" + metrics + "/metrics"
	return p
}

// kubeconfigOf is the file for a connection.
func kubeconfigOf(config *rest.Config) []byte {
	encode := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %q}}]
users: [{name: u, user: {client-certificate-data: %q, client-key-data: %q}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
`, config.Host, encode(config.CAData), encode(config.CertData), encode(config.KeyData))
}

// freeAddress is a loopback address nobody listens on.
func freeAddress(t testing.TB) string {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// fetch returns what an address answers, or nothing.
func fetch(t testing.TB, address string) []byte {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil || response.StatusCode != http.StatusOK {
		return nil
	}
	return body
}
