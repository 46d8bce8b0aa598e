// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/testenv/controlplane"
)

const systemNamespace = testenv.SystemNamespace

var (
	root = testenv.ModuleRoot()
	// kubectlPath and kubeconfig are an administrator's.
	kubectlPath, kubeconfig string
	admin                   *rest.Config
	// programs is where the programs of this release are built.
	programs string
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// run starts a control plane without any kind of ours, and the controllers that end
// what was deleted.
func run(m *testing.M) (code int, err error) {
	if kubectlPath, err = findKubectl(); err != nil {
		return 0, err
	}
	if programs, err = os.MkdirTemp("", "lifecycle-test-"); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(programs)) }()
	environment := &envtest.Environment{}
	stop, err := controlplane.Start(environment)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	admin = environment.Config
	kubeconfig = filepath.Join(programs, "kubeconfig")
	if err := os.WriteFile(kubeconfig, environment.KubeConfig, 0o600); err != nil {
		return 0, err
	}
	// Another API server may have had this address, of which kubectl knows still.
	if err := os.Setenv("KUBECACHEDIR", filepath.Join(programs, "cache")); err != nil {
		return 0, err
	}
	stopCollectors, err := controlplane.StartControllerManager(environment.KubeConfig,
		append([]string{"persistentvolumeclaim-protection-controller"}, controlplane.Collectors...))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stopCollectors()) }()
	return m.Run(), nil
}

func findKubectl() (string, error) {
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		assets = filepath.Join(root, "bin", "k8s")
	}
	path := filepath.Join(assets, "kubectl")
	if _, err := os.Stat(path); err == nil {
		return filepath.Abs(path)
	}
	path, err := exec.LookPath("kubectl")
	if err != nil {
		return "", fmt.Errorf("kubectl is neither in %s nor on the PATH: run make kubectl", assets)
	}
	return path, nil
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

// kubectl runs kubectl, which must succeed.
func kubectl(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	stdout, stderr, err := tryKubectl(t, stdin, args...)
	require.NoError(t, err, "kubectl %s: %s", strings.Join(args, " "), stderr)
	return stdout
}

// command runs a program in a folder, which must succeed.
func command(t *testing.T, folder, name string, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	c.Dir = folder
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "KUBECONFIG="+kubeconfig)
	printed, err := c.CombinedOutput()
	require.NoError(t, err, "%s %s: %s", name, strings.Join(args, " "), printed)
	return string(printed)
}
