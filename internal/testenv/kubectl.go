// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Kubectl is the kubectl of users, as an administrator of a control plane.
type Kubectl struct {
	path  string
	flags []string
}

// Kubectl returns the kubectl of KubectlPath.
func (p *ControlPlane) Kubectl(t testing.TB) *Kubectl {
	t.Helper()
	path, err := KubectlPath()
	require.NoError(t, err)
	folder := t.TempDir()
	kubeconfig := filepath.Join(folder, "kubeconfig")
	require.NoError(t, os.WriteFile(kubeconfig, p.environment.KubeConfig, 0o600))
	return &Kubectl{path: path, flags: []string{"--kubeconfig=" + kubeconfig, "--cache-dir=" + filepath.Join(folder, "cache")}}
}

// KubectlPath is the kubectl beside the control plane's programs, which is of their
// version, or the installed one.
func KubectlPath() (string, error) {
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		assets = filepath.Join(ModuleRoot(), "bin", "k8s")
	}
	path := filepath.Join(assets, "kubectl")
	if _, err := os.Stat(path); err == nil { //nolint:gosec // the folder is the developer's own choice
		return path, nil
	}
	path, err := exec.LookPath("kubectl")
	if err != nil {
		return "", fmt.Errorf("kubectl is neither in %s nor on the PATH: run `make kubectl`: %w", assets, err)
	}
	return path, nil
}

// Try runs kubectl with stdin and returns what it printed. The error is one of
// package exec.
func (k *Kubectl) Try(t testing.TB, stdin string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), k.path, append(args[:len(args):len(args)], k.flags...)...)
	command.Stdin = strings.NewReader(stdin)
	var out, errOut bytes.Buffer
	command.Stdout, command.Stderr = &out, &errOut
	err = command.Run()
	return out.String(), errOut.String(), err
}

// Run runs kubectl, which must succeed without a warning.
func (k *Kubectl) Run(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	stdout, stderr, err := k.Try(t, stdin, args...)
	require.NoError(t, err, "kubectl %s: %s%s", strings.Join(args, " "), stdout, stderr)
	require.NotContains(t, stderr, "Warning", "kubectl %s", strings.Join(args, " "))
	return stdout
}
