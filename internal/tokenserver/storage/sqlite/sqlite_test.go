// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
	"connectedapps.dev/operator/internal/tokenserver/storage/storagetest"
)

func open(t *testing.T) storage.Storage {
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "tokenserver.db"), storagetest.Epoch)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestConformance(t *testing.T) { storagetest.Run(t, open) }

func TestRecordsAreThereAfterReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "with space and ?#%.db")
	first, err := sqlite.Open(t.Context(), path, storagetest.Epoch)
	require.NoError(t, err)
	app, err := first.CreateApp(t.Context(), storagetest.App(1))
	require.NoError(t, err)
	id, err := first.InstallationID(t.Context())
	require.NoError(t, err)
	require.NoError(t, first.Close())
	require.FileExists(t, path)

	second, err := sqlite.Open(t.Context(), path, storagetest.Epoch)
	require.NoError(t, err)
	defer func() { _ = second.Close() }()
	got, err := second.App(t.Context(), app.ClientID)
	require.NoError(t, err)
	require.Equal(t, app, got)
	same, err := second.InstallationID(t.Context())
	require.NoError(t, err)
	require.Equal(t, id, same)
}

func TestOnlyTheOwnerReadsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s, err := sqlite.Open(t.Context(), path, storagetest.Epoch)
	require.NoError(t, err)
	defer func() { _ = s.Close() }()
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestOpenRefusesWhatItCannotUse(t *testing.T) {
	t.Run("a file in use by another", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "db")
		first, err := sqlite.Open(t.Context(), path, storagetest.Epoch)
		require.NoError(t, err)
		defer func() { _ = first.Close() }()
		_, err = sqlite.Open(t.Context(), path, storagetest.Epoch)
		require.ErrorIs(t, err, storage.ErrInUse)
		var inUse *sqlite.InUseError
		require.ErrorAs(t, err, &inUse)
		require.Contains(t, inUse.Holder, "pid "+strconv.Itoa(os.Getpid())+" on host ")
	})
	t.Run("a folder that is not there", func(t *testing.T) {
		_, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "missing", "db"), storagetest.Epoch)
		require.ErrorContains(t, err, "does not exist")
	})
	t.Run("a file that is no database", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "db")
		require.NoError(t, os.WriteFile(path, []byte("this is text, not a database, and it is long enough to tell, is it not? Yes, it is.\n"), 0o600))
		_, err := sqlite.Open(t.Context(), path, storagetest.Epoch)
		require.ErrorContains(t, err, "not a database")
	})
	t.Run("a database of a later release", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "db")
		s, err := sqlite.Open(t.Context(), path, storagetest.Epoch)
		require.NoError(t, err)
		require.NoError(t, s.Close())
		db, err := sql.Open("sqlite", path)
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9000, 1)`)
		require.NoError(t, err)
		s, err = sqlite.Open(t.Context(), path, storagetest.Epoch)
		require.NoError(t, err, "it only added something")
		require.NoError(t, s.Close())
		_, err = db.ExecContext(t.Context(), `UPDATE installation SET oldest_schema = 9000`)
		require.NoError(t, err)
		require.NoError(t, db.Close())
		_, err = sqlite.Open(t.Context(), path, storagetest.Epoch)
		require.ErrorIs(t, err, storage.ErrNewerSchema)
	})
}
