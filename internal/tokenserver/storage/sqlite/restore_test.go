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
