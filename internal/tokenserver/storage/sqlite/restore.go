// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// Restore makes the database file at path of a backup, which it reads from r. The
// file appears whole, on the disk and examined, or not at all. check is called with
// its keys before that.
//
// A former database is moved to the folder away, which is made; when away is empty
// it stays, and the error is fs.ErrExist. No server may have it open.
func Restore(ctx context.Context, r io.Reader, path, away string, check func(context.Context, storage.KeyReader) error) (err error) {
	unlock, err := lock(path + ".lock")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	former, err := partsOf(path)
	if err != nil {
		return err
	}
	if len(former) > 0 && away == "" {
		return fmt.Errorf("writing %s: %w", former[0], fs.ErrExist)
	}
	partial, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.partial") // mode 0600
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() { _ = errors.Join(partial.Close(), os.Remove(partial.Name())) }()
	if _, err := io.Copy(partial, r); err != nil {
		return fmt.Errorf("reading the backup: %w", err)
	}
	if err := examine(ctx, partial.Name(), check); err != nil {
		return fmt.Errorf("examining the backup: %w", err)
	}
	if err := partial.Sync(); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := moveAway(former, away); err != nil {
		return err
	}
	if err := appear(partial.Name(), path); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return syncFolder(filepath.Dir(path))
}

// partsOf are the files of the database at path that are there. What a -wal holds
// would be taken for the newest part of whatever is put at path.
func partsOf(path string) (parts []string, err error) {
	for _, part := range []string{path, path + "-wal", path + "-shm", path + "-journal"} {
		switch _, err := os.Lstat(part); {
		case err == nil:
			parts = append(parts, part)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	return parts, nil
}

func moveAway(parts []string, folder string) error {
	if len(parts) == 0 {
		return nil
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		return fmt.Errorf("moving the former database away: %w", err)
	}
	for _, part := range parts {
		if err := os.Rename(part, filepath.Join(folder, filepath.Base(part))); err != nil {
			return fmt.Errorf("moving the former database away: %w", err)
		}
	}
	return syncFolder(folder)
}
