// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"connectedapps.dev/operator/internal/testenv/controlplane"
)

// envEnd says how the test process ends that this test program starts.
const envEnd = "CONTROLPLANE_TEST_END"

// addresses are what the test process tells: where its control plane listens.
type addresses struct{ Etcd, APIServer string }

func start(t *testing.T) (running addresses, stop func() error) {
	t.Helper()
	environment := &envtest.Environment{ControlPlaneStartTimeout: time.Minute}
	stop, err := controlplane.Start(environment)
	require.NoError(t, err)
	return addresses{Etcd: environment.ControlPlane.Etcd.URL.Host, APIServer: environment.ControlPlane.APIServer.HostPort()}, stop
}

// TestProcessWithAControlPlane is the test process whose control plane must not
// outlive it.
func TestProcessWithAControlPlane(t *testing.T) {
	end := os.Getenv(envEnd)
	if end == "" {
		return // started by the test runner: TestAControlPlaneEndsWithItsTestProcess does the testing
	}
	ctrl.SetLogger(logr.Discard())
	running, stop := start(t)
	require.NoError(t, json.NewEncoder(os.Stdout).Encode(running))
	switch end {
	case "panic": // of another goroutine than the test's, as the one of go test -timeout
		go func() { panic("test timed out after 10m0s") }()
	case "return":
		require.NoError(t, stop())
		return
	}
	select {}
}

func TestAControlPlaneEndsWithItsTestProcess(t *testing.T) {
	for name, row := range map[string]struct {
		end    string
		signal syscall.Signal
	}{
		"that panics or runs out of time":      {end: "panic"},
		"that is killed with all of its group": {end: "kill", signal: syscall.SIGKILL},
		"that ends as it should":               {end: "return"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			temporary := t.TempDir()
			command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProcessWithAControlPlane$")
			command.Env = append(os.Environ(), envEnd+"="+row.end, "TMPDIR="+temporary)
			command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			out, err := command.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, command.Start())
			line, err := bufio.NewReader(out).ReadBytes('\n')
			require.NoError(t, err)
			var running addresses
			require.NoError(t, json.Unmarshal(line, &running), string(line))
			if row.signal != 0 {
				require.NoError(t, syscall.Kill(-command.Process.Pid, row.signal))
			}
			require.Equal(t, row.end == "return", command.Wait() == nil)
			requireNothing(t, running, temporary)
		})
	}
}

// requireNothing waits until nobody listens and nothing is left in the folder
// for temporary files.
func requireNothing(t *testing.T, running addresses, temporary string) {
	t.Helper()
	for _, address := range []string{running.Etcd, running.APIServer} {
		require.Eventually(t, func() bool { return !listens(t, address) }, time.Minute, 20*time.Millisecond, "%s still listens", address)
	}
	var left []string
	require.Eventually(t, func() bool {
		var err error
		left, err = filepath.Glob(filepath.Join(temporary, "*"))
		return err == nil && len(left) == 0
	}, time.Minute, 20*time.Millisecond, "%v", &left)
}

func listens(t *testing.T, address string) bool {
	t.Helper()
	connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	return err == nil && connection.Close() == nil
}
