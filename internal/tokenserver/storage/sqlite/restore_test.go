// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// TestADatabaseOnItsWayIsNotTakenForNone: all that Restore does before the other
// database appears is done, and then this process would have been killed.
func TestADatabaseOnItsWayIsNotTakenForNone(t *testing.T) {
	t.Parallel()
	fine := func(context.Context, storage.KeyReader) error { return nil }
	path, backup := filepath.Join(t.TempDir(), "a.db"), filepath.Join(t.TempDir(), "backup.db")
	open := func() error {
		store, err := Open(t.Context(), path, time.Now())
		if err != nil {
			return err
		}
		return store.Close()
	}
	require.NoError(t, open())
	require.NoError(t, Backup(t.Context(), path, backup, fine))

	e, err := newExchange(path, true)
	require.NoError(t, err)
	require.NoError(t, e.moveAway())
	require.NoFileExists(t, path)
	require.ErrorIs(t, open(), ErrInterrupted)
	require.NoFileExists(t, path)

	file, err := os.Open(backup)
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	former, err := Restore(t.Context(), file, path, false, fine)
	require.NoError(t, err)
	require.Equal(t, e.former, former)
	require.FileExists(t, filepath.Join(former, "a.db"))
	require.NoError(t, open())
	require.NoError(t, os.Remove(path))
	require.NoError(t, open(), "it is over")
}

// TestARestoreEndsAfterAnyInterruption: each row is what a kill or a power cut may have
// left of the one before.
func TestARestoreEndsAfterAnyInterruption(t *testing.T) {
	t.Parallel()
	fine := func(context.Context, storage.KeyReader) error { return nil }
	for name, interrupt := range map[string]func(t *testing.T, path string, e *exchange){
		"the note is written": func(t *testing.T, path string, e *exchange) {
			require.NoError(t, os.WriteFile(path+noteSuffix, []byte(filepath.Base(e.former)+"\n"), 0o600))
		},
		"the note is there, but not what it says": func(t *testing.T, path string, _ *exchange) {
			require.NoError(t, os.WriteFile(path+noteSuffix, nil, 0o600))
		},
		"the folder is made": func(t *testing.T, path string, e *exchange) {
			require.NoError(t, os.WriteFile(path+noteSuffix, []byte(filepath.Base(e.former)+"\n"), 0o600))
			require.NoError(t, os.Mkdir(e.former, 0o700))
		},
		"the file is moved, and not what belongs to it": func(t *testing.T, path string, e *exchange) {
			require.NoError(t, os.WriteFile(path+noteSuffix, []byte(filepath.Base(e.former)+"\n"), 0o600))
			require.NoError(t, os.Mkdir(e.former, 0o700))
			require.NoError(t, os.Rename(path, filepath.Join(e.former, filepath.Base(path))))
		},
		"the file is moved, and the note says nothing": func(t *testing.T, path string, e *exchange) {
			require.NoError(t, os.WriteFile(path+noteSuffix, nil, 0o600))
			require.NoError(t, os.Mkdir(e.former, 0o700))
			require.NoError(t, os.Rename(path, filepath.Join(e.former, filepath.Base(path))))
		},
		"all is moved": func(t *testing.T, _ string, e *exchange) { require.NoError(t, e.moveAway()) },
		"the other has appeared": func(t *testing.T, path string, e *exchange) {
			require.NoError(t, e.moveAway())
			require.NoError(t, os.WriteFile(path, []byte("whole"), 0o600))
		},
		"the other is about to appear where files have no links": func(t *testing.T, path string, e *exchange) {
			require.NoError(t, e.moveAway())
			require.NoError(t, os.WriteFile(path, nil, 0o600))
			_, err := Open(t.Context(), path, time.Now())
			require.ErrorIs(t, err, ErrInterrupted)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, backup := filepath.Join(t.TempDir(), "a.db"), filepath.Join(t.TempDir(), "backup.db")
			store, err := Open(t.Context(), path, time.Now())
			require.NoError(t, err)
			require.NoError(t, store.Close())
			require.NoError(t, Backup(t.Context(), path, backup, fine))
			require.NoError(t, os.WriteFile(path+"-wal", []byte("of the former"), 0o600))
			e, err := newExchange(path, true)
			require.NoError(t, err)
			interrupt(t, path, e)

			file, err := os.Open(backup)
			require.NoError(t, err)
			defer func() { _ = file.Close() }()
			former, err := Restore(t.Context(), file, path, true, fine)
			require.NoError(t, err)
			require.NotEqual(t, filepath.Dir(path), former)
			require.DirExists(t, former)
			require.NoFileExists(t, path+"-wal", "it is of the former")
			require.NoFileExists(t, path+noteSuffix)
			moved, err := filepath.Glob(path + ".replaced-*/a.db-wal")
			require.NoError(t, err)
			require.Len(t, moved, 1, "and kept with it")
			content, err := os.ReadFile(filepath.Join(filepath.Dir(moved[0]), "a.db"))
			require.NoError(t, err)
			require.NotEmpty(t, content)
			store, err = Open(t.Context(), path, time.Now())
			require.NoError(t, err)
			require.NoError(t, store.Close())
		})
	}
}
