// SPDX-License-Identifier: Apache-2.0

package campaign

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

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

// peakMemory is the most that was resident of a process that runs, in MiB.
func (p *process) peakMemory(t testing.TB) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	require.NoError(t, err)
	return kib / 1024
}

// cpu is the CPU time of a process, in seconds; false when it is gone.
func (p *process) cpu() (seconds float64, ok bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.command.Process.Pid))
	if err != nil {
		return 0, false
	}
	_, rest, _ := strings.Cut(string(text), ") ") // after its name
	fields := strings.Fields(rest)
	const user, system, ticks = 11, 12, 100 // proc_pid_stat(5), which counts from the process id
	for _, field := range fields[user : system+1] {
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return 0, false
		}
		seconds += n / ticks
	}
	return seconds, true
}

// meter has the CPU time of a process, second by second, until it ends.
type meter struct {
	mu    sync.Mutex
	times []time.Time
	cpu   []float64
}

func measureCPU(t testing.TB, p *process) *meter {
	t.Helper()
	m := &meter{}
	m.look(p)
	ticker := time.NewTicker(time.Second)
	t.Cleanup(ticker.Stop)
	go func() {
		for {
			select {
			case <-ticker.C:
				m.look(p)
			case <-p.done:
				return
			}
		}
	}()
	return m
}

func (m *meter) look(p *process) {
	used, ok := p.cpu()
	if !ok {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.times, m.cpu = append(m.times, time.Now()), append(m.cpu, used)
}

// began is when the process was first looked at.
func (m *meter) began() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.times[0]
}

// since are the cores in use in the busiest second since then, and in the mean, and
// the CPU time in seconds.
func (m *meter) since(then time.Time) (peak, mean, total float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	first, _ := slices.BinarySearchFunc(m.times, then, time.Time.Compare)
	last := len(m.times) - 1
	if first >= last {
		return 0, 0, 0
	}
	for i := first; i < last; i++ {
		peak = max(peak, (m.cpu[i+1]-m.cpu[i])/m.times[i+1].Sub(m.times[i]).Seconds())
	}
	total = m.cpu[last] - m.cpu[first]
	return peak, total / m.times[last].Sub(m.times[first]).Seconds(), total
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
	metrics := testenv.FreeAddress(t)
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
