// SPDX-License-Identifier: Apache-2.0

// Package install applies config/ to a real API server as its users do, with
// kubectl and kustomize.
package install

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

var (
	// root of the repository.
	root = filepath.Join("..", "..")
	// kubectlPath is the kubectl of the same version as the API server.
	kubectlPath string
	kubeconfig  string
	// admin connects to the API server as an administrator.
	admin *rest.Config
	// auditLog is where the API server writes what the manager asks of it.
	auditLog string
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(run(m))
}

func run(m *testing.M) int {
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		assets = filepath.Join(root, "bin", "k8s")
	}
	kubectlPath = filepath.Join(assets, "kubectl")
	if _, err := os.Stat(kubectlPath); err != nil {
		found, lookErr := exec.LookPath("kubectl")
		if lookErr != nil {
			fmt.Fprintf(os.Stderr, "kubectl is neither in %s nor on the PATH: run make test, which builds the control plane\n", assets)
			return 1
		}
		kubectlPath = found
	}
	dir, err := os.MkdirTemp("", "install-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	environment := &envtest.Environment{BinaryAssetsDirectory: assets, ControlPlaneStartTimeout: time.Minute}
	if err := writeAudit(environment, dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if admin, err = environment.Start(); err != nil {
		fmt.Fprintf(os.Stderr, "starting the control plane of %s: %v\n", assets, err)
		return 1
	}
	defer func() { _ = environment.Stop() }()
	kubeconfig = filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(kubeconfig, environment.KubeConfig, 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// tryKubectl runs kubectl with stdin and returns what it printed.
func tryKubectl(t *testing.T, stdin string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), kubectlPath, append([]string{"--kubeconfig=" + kubeconfig}, args...)...)
	command.Stdin = strings.NewReader(stdin)
	var out, errOut bytes.Buffer
	command.Stdout, command.Stderr = &out, &errOut
	err = command.Run()
	return out.String(), errOut.String(), err
}

// kubectl runs kubectl, which must succeed without a warning.
func kubectl(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	stdout, stderr, err := tryKubectl(t, stdin, args...)
	require.NoError(t, err, "kubectl %s: %s", strings.Join(args, " "), stderr)
	require.NotContains(t, stderr, "Warning", "kubectl %s", strings.Join(args, " "))
	return stdout
}

func config(name string) string { return filepath.Join(root, "config", name) }

// install applies config/default and waits until the kinds are served.
func install(t *testing.T) {
	t.Helper()
	kubectl(t, "", "apply", "--server-side", "-k", config("default"))
	kubectl(t, "", "wait", "--for=condition=Established", "--timeout=60s", "crd",
		"tokenservers.connectedapps.dev", "connectedapps.connectedapps.dev", "accesstokens.connectedapps.dev")
}
