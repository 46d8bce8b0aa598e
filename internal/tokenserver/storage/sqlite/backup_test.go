// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
	"connectedapps.dev/operator/internal/tokenserver/storage/storagetest"
)

// TestABackupReplacesNoFileThatCameMeanwhile: copying a large database takes minutes.
func TestABackupReplacesNoFileThatCameMeanwhile(t *testing.T) {
	folder := t.TempDir()
	path, target := filepath.Join(folder, "tokenserver.db"), filepath.Join(folder, "backup.db")
	s, err := sqlite.Open(t.Context(), path, storagetest.Epoch)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	err = sqlite.Backup(t.Context(), path, target, func(context.Context, storage.KeyReader) error {
		return os.WriteFile(target, []byte("another's"), 0o600)
	})
	require.ErrorIs(t, err, fs.ErrExist)
	content, err := os.ReadFile(target)
	require.NoError(t, err)
	require.Equal(t, "another's", string(content))
	left, err := filepath.Glob(filepath.Join(folder, ".backup.db*"))
	require.NoError(t, err)
	require.Empty(t, left)

	require.NoError(t, os.Remove(target))
	require.NoError(t, sqlite.Backup(t.Context(), path, target, func(context.Context, storage.KeyReader) error { return nil }))
	info, err := os.Stat(target)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode())
}
