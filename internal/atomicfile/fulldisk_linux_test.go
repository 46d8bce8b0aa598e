// SPDX-License-Identifier: Apache-2.0

package atomicfile

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// On a full disk a set can be taken away though none can be written.
func TestClearNeedsNoRoom(t *testing.T) {
	dir := Dir{Path: smallDisk(t)}
	require.NoError(t, dir.Write(generation(1)))
	fill(t, dir.Path)
	require.ErrorIs(t, dir.Write(generation(2)), syscall.ENOSPC)
	requireGeneration(t, dir.Path, 1)
	require.NoError(t, dir.Clear())
	require.NoFileExists(t, filepath.Join(dir.Path, "access-token"))
}

// smallDisk is a file system of its own, of 64 KiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("mounting a small disk: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// fill leaves no room on the disk of dir.
func fill(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	for block := make([]byte, 512); err == nil; {
		_, err = f.Write(block)
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
}
