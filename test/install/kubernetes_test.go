// SPDX-License-Identifier: Apache-2.0

package install

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestKubernetesTakesWhatIsInstalled: the types of every version that is supported know
// every kind and every field, and those of the versions with policies that change
// objects know the injection. The last is that of the API server that the other tests
// install on.
func TestKubernetesTakesWhatIsInstalled(t *testing.T) {
	var manifests strings.Builder
	for _, name := range []string{"default", "namespaced", "postgresql", "restore", "samples", "samples/shared-token"} {
		for document := range strings.SplitSeq(kubectl(t, "", "kustomize", config(name)), "\n---\n") {
			if !strings.HasPrefix(document, "apiVersion: connectedapps.dev/") {
				manifests.WriteString("---\n" + document + "\n")
			}
		}
	}
	injection := kubectl(t, "", "kustomize", config("injection"))
	for version, is := range map[string]struct {
		modules string
		injects bool
	}{
		"1.33": {modules: "v1.33.mod"}, "1.34": {modules: "v1.34.mod"}, "1.35": {modules: "v1.35.mod"},
		"1.36": {modules: "v1.36.mod", injects: true}, "1.37": {modules: "go.mod", injects: true},
	} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			check := typesOf(t, version, is.modules)
			unknown, err := check(manifests.String())
			require.NoError(t, err, unknown)
			unknown, err = check("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {unheardOf: 1}\n")
			require.Error(t, err)
			require.Contains(t, unknown, `unknown field "spec.unheardOf"`, "the check is strict")
			unknown, err = check(injection)
			if is.injects {
				require.NoError(t, err, unknown)
				return
			}
			require.Error(t, err)
			for line := range strings.Lines(unknown) {
				require.Contains(t, line, `no kind "MutatingAdmissionPolicy`)
			}
		})
	}
}

// typesOf is a check by the types of a version of Kubernetes, whose module file it
// names: of manifests it gives what that version does not know.
func typesOf(t *testing.T, version, modules string) func(manifests string) (string, error) {
	t.Helper()
	folder := filepath.Join(root, "test", "schema", "kubernetes")
	content, err := os.ReadFile(filepath.Join(folder, modules))
	require.NoError(t, err)
	require.Contains(t, string(content), "k8s.io/api v0."+strings.TrimPrefix(version, "1.")+".", modules)
	program := filepath.Join(t.TempDir(), "kubernetes")
	build := exec.CommandContext(t.Context(), "go", "build", "-modfile="+modules, "-o", program, ".")
	build.Dir = folder
	printed, err := build.CombinedOutput()
	require.NoError(t, err, string(printed))
	return func(manifests string) (string, error) {
		check := exec.CommandContext(t.Context(), program)
		check.Stdin = strings.NewReader(manifests)
		out, err := check.Output()
		return string(out), err
	}
}
