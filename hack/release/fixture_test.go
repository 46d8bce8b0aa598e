// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/hack/release/program"
)

const fixtureChangelog = `# Changelog

## [Unreleased]

## [0.2.0] - 2026-12-01

### Added

- The sidecar says *when*.

## [0.1.0] - 2026-11-27

- The first.

[0.1.0]: https://example.com/0.1.0
`

// repository is one like ours, committed, whose programs do nothing, so that they
// are built for every platform in no time.
func repository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		file := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	write("go.mod", "module "+program.Module+"\n\ngo 1.26.0\n")
	for _, p := range append([]program.Program{program.Plugin}, program.Images...) {
		write("cmd/"+p.Name+"/main.go", "package main\n\nvar version = \"dev\"\n\nfunc main() { println(version) }\n")
	}
	write("CHANGELOG.md", fixtureChangelog)
	write("LICENSE", "Apache License\nVersion 2.0\n")
	write(".gitignore", "/bin/\n/dist/\n")
	script, err := os.ReadFile("../build.sh")
	require.NoError(t, err)
	write("hack/build.sh", string(script))
	require.NoError(t, os.Chmod(filepath.Join(dir, "hack/build.sh"), 0o755))
	git(t, dir, "init", "--quiet")
	commit(t, dir)
	return dir
}

func commit(t *testing.T, dir string) {
	t.Helper()
	git(t, dir, "add", "--all")
	git(t, dir, "commit", "--quiet", "--message=all")
}

// git commits with the same author and times wherever it runs.
func git(t *testing.T, dir string, arguments ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "git", append([]string{"-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"}, arguments...)...)
	command.Dir = dir
	command.Env = append(os.Environ(), "GIT_AUTHOR_DATE=2026-12-01T10:00:00Z", "GIT_COMMITTER_DATE=2026-12-01T10:00:00Z")
	out, err := command.CombinedOutput()
	require.NoError(t, err, string(out))
}

// releaseCommand runs the program as make does, but for a repository of the test.
func releaseCommand(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := run(t.Context(), arguments, &out)
	return out.String(), err
}

func makeImages(t *testing.T, root string) (dist, told string) {
	t.Helper()
	dist = filepath.Join(root, "dist")
	told, err := releaseCommand(t, "images", "-version=v0.2.0", "-root="+root, "-binaries="+filepath.Join(root, "bin"), "-output="+dist)
	require.NoError(t, err)
	return dist, told
}

// registry runs one, of CNCF Distribution, in a process of its own.
func registry(t *testing.T, flags ...string) (address string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "registry")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", file, "./registry")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	ctx, cancel := context.WithCancel(context.Background())
	process := exec.CommandContext(ctx, file, append(flags, t.TempDir())...)
	process.Cancel = func() error { return process.Process.Signal(os.Interrupt) }
	process.WaitDelay = time.Minute
	process.Stderr = os.Stderr
	stdout, err := process.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, process.Start())
	t.Cleanup(func() {
		cancel()
		_ = process.Wait()
	})
	address, err = bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(address)
}
