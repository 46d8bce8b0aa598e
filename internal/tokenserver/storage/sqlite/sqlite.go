// SPDX-License-Identifier: Apache-2.0

// Package sqlite opens a token server's storage in one SQLite file, for a
// single replica: write-ahead log, every commit synced, one writer, a pool of
// readers, and a lock file that refuses a second process.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlstore"
)

const readers = 4

// Open opens the database file at path, creates it when absent, and brings its
// schema up to date. The folder must exist. InUseError, which is
// storage.ErrInUse, when another process has it open, storage.ErrNewerSchema when it belongs to a later
// release.
func Open(ctx context.Context, path string, now time.Time) (*sqlstore.Store, error) {
	store, err := OpenAsIs(path)
	if err != nil {
		return nil, err
	}
	if err := store.Migrate(ctx, now); err != nil {
		return nil, fmt.Errorf("opening database %s: %w", path, errors.Join(err, store.Close()))
	}
	return store, nil
}

// OpenAsIs is Open but for the schema, which it leaves as it is.
func OpenAsIs(path string) (*sqlstore.Store, error) {
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("opening database %s: its folder %s does not exist", path, filepath.Dir(path))
	}
	unlock, err := lockExisting(path)
	if err != nil {
		return nil, fmt.Errorf("opening database %s: %w", path, err)
	}
	store, err := open(path, unlock)
	if err != nil {
		return nil, fmt.Errorf("opening database %s: %w", path, err)
	}
	return store, nil
}

// lockExisting takes the lock of a database, which is one for all paths that lead to
// it, unless it is neither there nor to be made.
func lockExisting(path string) (unlock func() error, err error) {
	file, err := resolved(path)
	if err != nil {
		return nil, err
	}
	if unlock, err = lock(file + lockSuffix); err != nil {
		return nil, err
	}
	former, err := interrupted(file)
	if err == nil && former != "" {
		err = fmt.Errorf("%w: the former database is in %s", ErrInterrupted, former)
	}
	if err != nil {
		return nil, errors.Join(err, unlock())
	}
	// A database that is there makes the note void.
	_ = os.Remove(file + noteSuffix)
	return unlock, nil
}

func open(path string, unlock func() error) (*sqlstore.Store, error) {
	// Made here, so that nobody else can ever read it.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, errors.Join(err, unlock())
	}
	_ = file.Close()
	write, err := pool(dsn(path, "synchronous(FULL)", "journal_mode(WAL)"))
	if err != nil {
		return nil, errors.Join(err, unlock())
	}
	write.SetMaxOpenConns(1)
	// 512 KiB of pages each, of the 2 MiB that are usual: with each change of the writer
	// a reader forgets all of them.
	read, err := pool(dsn(path, "query_only(1)", "cache_size(-512)"))
	if err != nil {
		return nil, errors.Join(err, write.Close(), unlock())
	}
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)
	return sqlstore.New(read, write, dialect, unlock), nil
}

// dsn begins every transaction of the writer as IMMEDIATE: one that would have
// to wait does so at its start and never fails half-way.
func dsn(path string, pragmas ...string) string {
	q := url.Values{"_txlock": {"immediate"}}
	if pragmas[0] == "query_only(1)" {
		q.Set("_txlock", "deferred")
	}
	q["_pragma"] = append([]string{"busy_timeout(10000)", "foreign_keys(1)"}, pragmas...)
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

var dialect = sqlstore.Dialect{
	System:   "sqlite",
	Strict:   " STRICT",
	Identity: "INTEGER PRIMARY KEY AUTOINCREMENT",
	BigInt:   "INTEGER",
	Text:     "TEXT",
	Blob:     "BLOB",
	Group:    true,
	Members:  "SELECT key AS id, value AS at FROM json_each(?)",
	Size:     "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
	Catalog:  catalog,
	Classify: classify,
}

func classify(err error) error {
	var engine *sqlite.Error
	if !errors.As(err, &engine) {
		return err
	}
	switch engine.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return fmt.Errorf("%w: %w", storage.ErrAlreadyExists, err)
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return fmt.Errorf("what it belongs to: %w: %w", storage.ErrNotFound, err)
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("%w: %w", storage.ErrFull, err)
	}
	return err
}
