// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// releaseBefore is the commit of the release before this one, 0.1.0. Each release
// puts that of its predecessor here.
const releaseBefore = "cf854b1d3e6a948795bb0d8b394df1e59706a527"

// release is what somebody installs: manifests of config and the programs of the images.
type release struct {
	manifests, manager, tokenserver string
}

// theReleaseBefore, with the manifests of a folder of config, is built from the history,
// once for all runs.
func theReleaseBefore(t *testing.T, kustomization string) *release {
	t.Helper()
	folder := filepath.Join(root, "bin", "releases", releaseBefore)
	if _, err := os.Stat(folder); err != nil {
		buildReleaseBefore(t, folder)
	}
	return releaseOf(t, folder, kustomization, folder)
}

func buildReleaseBefore(t *testing.T, folder string) {
	t.Helper()
	git := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir = root
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err
	}
	if _, err := git("cat-file", "-e", releaseBefore+"^{commit}"); err != nil {
		if shallow, err := git("rev-parse", "--is-shallow-repository"); err != nil || shallow == "true" {
			t.Skipf("the release before is built from commit %s, which a copy without the history does not have: git fetch --unshallow", releaseBefore)
		}
		require.NoError(t, err, "the release before is built from commit %s, which is not in this clone", releaseBefore)
	}

	require.NoError(t, os.MkdirAll(filepath.Dir(folder), 0o755))
	building, err := os.MkdirTemp(filepath.Dir(folder), "building-") //nolint:usetesting // it is renamed to folder, on the same file system
	require.NoError(t, err)
	defer func() { _ = os.RemoveAll(building) }()
	sources := filepath.Join(building, "sources.tar")
	command(t, root, "git", "archive", "--output="+sources, releaseBefore)
	command(t, building, "tar", "-xf", sources)
	build(t, building, building, "0.1.0")
	for _, unused := range []string{"sources.tar", "cmd", "internal", "test", "docs", "hack", "api", "go.mod", "go.sum"} {
		require.NoError(t, os.RemoveAll(filepath.Join(building, unused)))
	}
	// Somebody else may have been faster.
	if err := os.Rename(building, folder); err != nil {
		require.DirExists(t, folder)
	}
}

func build(t *testing.T, from, to, version string) {
	t.Helper()
	command(t, from, "go", "build", "-buildvcs=false", "-ldflags=-s -w -X main.version="+version, "-o", to+string(filepath.Separator), "./cmd/manager", "./cmd/tokenserver")
}

// thisRelease is built from the tree.
func thisRelease(t *testing.T, kustomization string) *release {
	t.Helper()
	if _, err := os.Stat(filepath.Join(programs, "manager")); err != nil {
		build(t, root, programs, "dev")
	}
	return releaseOf(t, root, kustomization, programs)
}

func releaseOf(t *testing.T, folder, kustomization, programs string) *release {
	t.Helper()
	return &release{
		manifests: kubectl(t, "", "kustomize", filepath.Join(folder, "config", kustomization)),
		manager:   filepath.Join(programs, "manager"), tokenserver: filepath.Join(programs, "tokenserver"),
	}
}

// find reads the object of a kind and name from the manifests.
func find[T any](t *testing.T, r *release, kind, name string) *T {
	t.Helper()
	for document := range strings.SplitSeq(r.manifests, "\n---\n") {
		var head struct {
			Kind     string
			Metadata struct{ Name string }
		}
		require.NoError(t, yaml.Unmarshal([]byte(document), &head))
		if head.Kind == kind && head.Metadata.Name == name {
			o := new(T)
			require.NoError(t, yaml.UnmarshalStrict([]byte(document), o))
			return o
		}
	}
	require.Fail(t, "no "+kind+" "+name)
	return nil
}
