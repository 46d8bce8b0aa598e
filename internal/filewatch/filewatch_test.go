// SPDX-License-Identifier: Apache-2.0

package filewatch_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/filewatch"
)

// watched returns a watcher of the files and what it read from the first, look
// by look.
func watched(files ...string) (*filewatch.Watcher, *[]string) {
	var read []string
	group := &filewatch.Group{Name: "g", Files: func() []string { return files }}
	group.Apply = func(context.Context) error {
		content, err := os.ReadFile(files[0])
		read = append(read, string(content))
		return err
	}
	return &filewatch.Watcher{Groups: []*filewatch.Group{group}, Report: func(string, error) {}}, &read
}

func write(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
}

func TestAChangeIsAppliedOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "one")
	w, read := watched(file)
	for _, content := range []string{"one", "second", "third one"} {
		write(t, file, content)
		w.Look(t.Context())
		w.Look(t.Context())
	}
	require.Equal(t, []string{"one", "second", "third one"}, *read)
}

func TestARenamedFileOfTheSameSizeIsSeen(t *testing.T) {
	dir := t.TempDir()
	file, next := filepath.Join(dir, "file"), filepath.Join(dir, "next")
	write(t, file, "one")
	w, read := watched(file)
	w.Look(t.Context())
	write(t, next, "two")
	require.NoError(t, os.Rename(next, file))
	w.Look(t.Context())
	require.Equal(t, []string{"one", "two"}, *read)
}

func TestTheKubeletsSymlinkSwapIsSeen(t *testing.T) {
	dir := t.TempDir()
	for _, version := range []string{"..1", "..2"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, version), 0o755))
		write(t, filepath.Join(dir, version, "key"), version)
	}
	data, file := filepath.Join(dir, "..data"), filepath.Join(dir, "key")
	require.NoError(t, os.Symlink("..1", data))
	require.NoError(t, os.Symlink("..data/key", file))
	w, read := watched(file)
	w.Look(t.Context())
	require.NoError(t, os.Symlink("..2", data+"_tmp"))
	require.NoError(t, os.Rename(data+"_tmp", data))
	w.Look(t.Context())
	require.Equal(t, []string{"..1", "..2"}, *read)
}

func TestWhatFailedIsTriedAgainAndHoldsUpNoOther(t *testing.T) {
	dir := t.TempDir()
	broken, good := 2, 0
	var reports []error
	w := &filewatch.Watcher{
		Groups: []*filewatch.Group{
			{Name: "broken", Files: func() []string { return []string{dir} }, Apply: func(context.Context) error {
				if broken--; broken >= 0 {
					return errors.New("half a file")
				}
				return nil
			}},
			{Name: "good", Files: func() []string { return []string{dir} }, Apply: func(context.Context) error { good++; return nil }},
		},
		Report: func(group string, err error) {
			if group == "broken" {
				reports = append(reports, err)
			}
		},
	}
	for range 5 {
		w.Look(t.Context())
	}
	require.Equal(t, []error{errors.New("half a file"), errors.New("half a file"), nil}, reports)
	require.Equal(t, 1, good)
}

func TestAFileThatGoesIsAChange(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "one")
	w, read := watched(file)
	w.Look(t.Context())
	require.NoError(t, os.Remove(file))
	w.Look(t.Context())
	require.Equal(t, []string{"one", ""}, *read)
}
