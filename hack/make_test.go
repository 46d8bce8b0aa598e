// SPDX-License-Identifier: Apache-2.0

// Package hack_test tests the Makefile.
package hack_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestABareTreeBuildsWhatItsTestsNeed asks make what it would do where nothing
// is built yet: first for a package that needs the control plane, then for one
// that needs nothing.
func TestABareTreeBuildsWhatItsTestsNeed(t *testing.T) {
	const build = "hack/build.sh \"etcd and kube-apiserver\""
	require.Contains(t, plan(t, "TEST=./internal/controller/tombstone"), build)
	require.NotContains(t, plan(t, "TEST=./internal/atomicfile"), build)
	require.Contains(t, plan(t, "TEST=./test/deletion"), "hack/build.sh \"kube-controller-manager\"", "it needs more")
	require.NotContains(t, plan(t, "TEST=./internal/controller/tombstone", "KUBEBUILDER_ASSETS="+t.TempDir()), build,
		"programs that somebody else built")
}

// plan is what "make unit" would run with these variables and an empty bin.
func plan(t *testing.T, variables ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "make", append([]string{"-n", "unit", "BIN=" + t.TempDir()}, variables...)...)
	command.Dir = ".."
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		switch name {
		case "KUBEBUILDER_ASSETS", "KUBE_CONTROLLER_MANAGER", "KUBECTL", "MAKEFLAGS", "MAKELEVEL", "MFLAGS":
		default:
			command.Env = append(command.Env, variable)
		}
	}
	out, err := command.CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}
