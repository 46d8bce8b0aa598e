// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/resource"
)

// endless is what never stops to write.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestInputThatNeverEndsIsNotWaitedFor(t *testing.T) {
	folder := t.TempDir()
	pipe := filepath.Join(folder, "app.yaml")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	large := filepath.Join(t.TempDir(), "large.json")
	require.NoError(t, os.WriteFile(large, nil, 0o600))
	require.NoError(t, os.Truncate(large, 1<<40))
	for name, test := range map[string]struct {
		path, says string
	}{
		"a named pipe":           {pipe, pipe + " is a named pipe and no regular file; what another program writes is read from standard input, as -"},
		"a device":               {"/dev/zero", "/dev/zero is a device and no regular file"},
		"a folder":               {folder, folder + " is a folder and no regular file"},
		"a file of a terabyte":   {large, large + " has more than 1 MiB: it is something else, or has more in it than is read here"},
		"standard input":         {"-", "standard input has more than 1 MiB"},
		"a file that is missing": {filepath.Join(folder, "none"), "no such file or directory"},
	} {
		_, err := ReadInput(test.path, MaxValue, endless{})
		require.ErrorContains(t, err, test.says, name)
	}
	_, err := Manifests([]string{folder}, false, nil)
	require.ErrorContains(t, err, pipe+" is a named pipe", "of what is found in a folder too")
	_, err = Resources(resource.FilenameOptions{Filenames: []string{folder}}, nil)
	require.ErrorContains(t, err, pipe+" is a named pipe", "and not by kubectl's reader")
	require.NoError(t, os.Remove(pipe))
	require.NoError(t, os.Symlink("/dev/zero", pipe))
	_, err = Manifests([]string{folder}, false, nil)
	require.ErrorContains(t, err, pipe+" is a device")

	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(folder, link))
	_, err = Manifests([]string{link}, false, nil)
	require.ErrorContains(t, err, filepath.Join(link, "app.yaml")+" is a device", "a folder by another name is one")

	text, err := ReadInput("-", 3, strings.NewReader("abc"))
	require.NoError(t, err, "just as much as there may be")
	require.Equal(t, "abc", string(text))
	r, w, err := os.Pipe()
	require.NoError(t, err)
	_, err = w.WriteString("of a command")
	require.NoError(t, err)
	require.NoError(t, w.Close())
	defer func() { _ = r.Close() }()
	text, err = ReadInput("/dev/fd/"+strconv.Itoa(int(r.Fd())), MaxValue, nil)
	require.NoError(t, err, "as shells hand over <(command)")
	require.Equal(t, "of a command", string(text))
}
