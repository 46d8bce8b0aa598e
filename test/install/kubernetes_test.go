// SPDX-License-Identifier: Apache-2.0

package install

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestKubernetesTakesWhatIsInstalled: the types of the oldest version that is supported
// know every kind and every field, and those of the first with policies that change
// objects know the injection. Nothing goes from them later, and the latest version is
// the API server that the other tests install on.
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
	for version, injects := range map[string]bool{"v1.33": false, "v1.36": true} {
		t.Run(version, func(t *testing.T) {
			unknown, err := unknownTo(t, version, manifests.String())
			require.NoError(t, err, unknown)
			unknown, err = unknownTo(t, version, injection)
			if injects {
				require.NoError(t, err, unknown)
				return
			}
			require.Error(t, err)
			for line := range strings.Lines(unknown) {
				require.Contains(t, line, `no kind "MutatingAdmissionPolicy`)
			}
			unknown, err = unknownTo(t, version, "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {unheardOf: 1}\n")
			require.Error(t, err)
			require.Contains(t, unknown, `unknown field "spec.unheardOf"`, "the check is strict")
		})
	}
}

// unknownTo is what of manifests a version of Kubernetes does not know.
func unknownTo(t *testing.T, version, manifests string) (string, error) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "kubernetes")
	build := exec.CommandContext(t.Context(), "go", "build", "-modfile="+version+".mod", "-o", program, ".")
	build.Dir = filepath.Join(root, "test", "schema", "kubernetes")
	printed, err := build.CombinedOutput()
	require.NoError(t, err, string(printed))
	check := exec.CommandContext(t.Context(), program)
	check.Stdin = strings.NewReader(manifests)
	out, err := check.Output()
	return string(out), err
}
