// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlstore"
)

// Backup writes what the database file at path holds at one moment to a new file,
// which only its owner may read. A server may have the database open and write to
// it meanwhile. The file appears whole, on the disk and examined, or not at all;
// fs.ErrExist when there is one. check is called with the keys of the copy before
// that.
func Backup(ctx context.Context, path, target string, check func(context.Context, storage.KeyReader) error) error {
	if _, err := os.Lstat(target); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, fmt.Errorf("writing %s: %w", target, fs.ErrExist))
	}
	folder, err := filepath.Abs(filepath.Dir(target))
	if err != nil {
		return err
	}
	partial, err := os.CreateTemp(folder, "."+filepath.Base(target)+".*.partial") // mode 0600
	if err != nil {
		return fmt.Errorf("writing %s: %w", target, err)
	}
	defer func() { _ = errors.Join(partial.Close(), os.Remove(partial.Name())) }()
	if err := copyOnline(ctx, path, partial.Name()); err != nil {
		return fmt.Errorf("copying database %s: %w", path, err)
	}
	if err := examine(ctx, partial.Name(), check); err != nil {
		return fmt.Errorf("examining the copy of database %s: %w", path, err)
	}
	if err := partial.Sync(); err != nil {
		return fmt.Errorf("writing %s: %w", target, err)
	}
	if err := appear(partial.Name(), target); err != nil {
		return fmt.Errorf("writing %s: %w", target, err)
	}
	return syncFolder(folder)
}

// appear gives a file its name. Unlike a rename alone it replaces nothing that has come
// meanwhile: fs.ErrExist then.
func appear(partial, target string) error {
	err := os.Link(partial, target)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	// The file system may have no links.
	reserved, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(reserved.Close(), os.Rename(partial, target))
}

// copyOnline takes one read transaction, as long as that of any reader: writers go
// on. It takes no lock file, which is for those who write.
func copyOnline(ctx context.Context, path, target string) error {
	db, err := sql.Open("sqlite", existing(path))
	if err != nil {
		return err
	}
	// A file that VACUUM INTO finds empty, it fills.
	_, err = db.ExecContext(ctx, `VACUUM INTO ?`, target)
	if err != nil {
		err = classify(err)
	}
	return errors.Join(err, db.Close())
}

// existing is a database file that is not made when it is absent.
func existing(path string) string {
	q := url.Values{"mode": {"rw"}, "_pragma": {"busy_timeout(10000)"}}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

// examine reads every page of a file that nobody else has open.
func examine(ctx context.Context, path string, check func(context.Context, storage.KeyReader) error) error {
	db, err := sql.Open("sqlite", existing(path))
	if err != nil {
		return err
	}
	store := sqlstore.New(db, db, dialect, nil)
	defer func() { _ = store.Close() }()
	for _, pragma := range []string{"integrity_check", "foreign_key_check"} {
		found, err := firstText(ctx, db, "PRAGMA "+pragma)
		if err != nil {
			return err
		}
		if found != "" && found != "ok" {
			return fmt.Errorf("%s: %s", pragma, found)
		}
	}
	if err := store.CheckSchema(ctx); err != nil {
		return err
	}
	return check(ctx, store)
}

// firstText returns the first column of the first row; empty when there is none.
func firstText(ctx context.Context, db *sql.DB, query string) (string, error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return "", err
	}
	defer func() { _ = rows.Close() }()
	names, err := rows.Columns()
	if err != nil || !rows.Next() {
		return "", errors.Join(err, rows.Err())
	}
	values := make([]any, len(names))
	for i := range values {
		values[i] = new(sql.RawBytes)
	}
	var first string
	values[0] = &first
	return first, rows.Scan(values...)
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
