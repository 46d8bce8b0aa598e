// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

//go:embed schema/*.sql
var schema embed.FS

// oldestSchema is the last migration that an earlier program must know to work
// beside this one. Migrations only add, so that replicas of the release before keep
// working; one that takes something away raises this to its own number.
const oldestSchema = 10

// migration is one file of the schema, with the words of the dialect filled in.
type migration struct {
	version          int64
	file, statements string
}

// Migrate brings the schema up to this program's, in one transaction that holds a
// lock: of several replicas that start at once one migrates. storage.ErrNewerSchema
// when the database belongs to a later release that this one cannot work beside.
func (s *Store) Migrate(ctx context.Context, now time.Time) error {
	migrations, err := s.migrations()
	if err != nil {
		return err
	}
	tx, err := s.begin(ctx, s.write, nil, "begin migration")
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := s.lockSchema(ctx, tx); err != nil {
		return err
	}
	if err := s.migrate(ctx, tx, migrations); err != nil {
		return err
	}
	if err := s.ensureInstallation(ctx, tx, now); err != nil {
		return err
	}
	return s.commit(ctx, tx)
}

// lockSchema also makes the table of versions.
func (s *Store) lockSchema(ctx context.Context, tx *sql.Tx) error {
	if err := s.takeSchema(ctx, tx); err != nil {
		return err
	}
	_, err := s.exec(ctx, tx, `CREATE TABLE IF NOT EXISTS `+versions+`
		(version_id `+s.dialect.BigInt+` NOT NULL, is_applied `+s.dialect.BigInt+` NOT NULL)`)
	return err
}

// takeSchema waits for the lock of the schema, and lifts the limits of the
// transaction.
func (s *Store) takeSchema(ctx context.Context, tx *sql.Tx) error {
	if s.dialect.LockSchema == "" {
		return nil
	}
	if _, err := tx.ExecContext(ctx, s.dialect.LockSchema); err != nil {
		return s.classify("waiting for the lock of the schema", err)
	}
	return nil
}

func (s *Store) migrate(ctx context.Context, tx *sql.Tx, migrations []migration) error {
	applied, err := s.applied(ctx, tx)
	if err != nil {
		return err
	}
	known := migrations[len(migrations)-1].version
	if version := slices.Max(slices.Collect(maps.Keys(applied))); version > known {
		return s.beside(ctx, tx, version, known)
	}
	for _, m := range migrations {
		if applied[m.version] {
			continue
		}
		if _, err := tx.ExecContext(ctx, m.statements); err != nil {
			return s.classify("migrating the schema with "+m.file, err)
		}
		if strings.HasSuffix(m.file, refolding) {
			if err := s.refoldNames(ctx, tx); err != nil {
				return err
			}
		}
		if _, err := s.exec(ctx, tx, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (?, 1)`, m.version); err != nil {
			return err
		}
	}
	return nil
}

// applied are the migrations that the database has had, and 0.
func (s *Store) applied(ctx context.Context, tx *sql.Tx) (map[int64]bool, error) {
	applied := map[int64]bool{0: true}
	err := s.queryRows(ctx, tx, func(rows *sql.Rows) error {
		var version int64
		err := rows.Scan(&version)
		applied[version] = true
		return err
	}, `SELECT version_id FROM goose_db_version`)
	return applied, err
}

// CheckSchema tells whether this program can work with a database, without a change to
// it: storage.ErrNewerSchema as for Migrate.
func (s *Store) CheckSchema(ctx context.Context) error {
	migrations, err := s.migrations()
	if err != nil {
		return err
	}
	tx, err := s.begin(ctx, s.read, nil, "begin looking at the schema")
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	applied, err := s.applied(ctx, tx)
	if err != nil {
		return err
	}
	known := migrations[len(migrations)-1].version
	if version := slices.Max(slices.Collect(maps.Keys(applied))); version > known {
		return s.beside(ctx, tx, version, known)
	}
	return nil
}

// beside tells whether this program can work with the database of a later release:
// while replicas are replaced one by one, one of the release before may restart.
func (s *Store) beside(ctx context.Context, tx *sql.Tx, version, known int64) error {
	var oldest int64
	if err := s.queryRow(ctx, tx, []any{&oldest}, `SELECT oldest_schema FROM installation`); err != nil {
		return err
	}
	if known < oldest {
		return fmt.Errorf("%w: the database is at %d and needs a program that knows %d, this one knows %d", storage.ErrNewerSchema, version, oldest, known)
	}
	return nil
}

func (s *Store) migrations() ([]migration, error) {
	files, err := fs.Glob(schema, "schema/*.sql")
	if err != nil {
		return nil, err
	}
	words := strings.NewReplacer("${STRICT}", s.dialect.Strict, "${IDENTITY}", s.dialect.Identity,
		"${BIGINT}", s.dialect.BigInt, "${TEXT}", s.dialect.Text, "${BLOB}", s.dialect.Blob, "${HEAP}", map[bool]string{false: "-- "}[s.dialect.Heap])
	var migrations []migration
	for _, file := range files {
		text, err := schema.ReadFile(file)
		if err != nil {
			return nil, err
		}
		file = strings.TrimPrefix(file, "schema/")
		number, _, _ := strings.Cut(file, "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("reading the number of migration %s: %w", file, err)
		}
		migrations = append(migrations, migration{version: version, file: file, statements: words.Replace(string(text))})
	}
	return migrations, nil
}

// InstallationID implements storage.Installation.
func (s *Store) InstallationID(ctx context.Context) (string, error) {
	var id string
	if err := s.queryRow(ctx, s.read, []any{&id}, `SELECT id FROM installation`); err != nil {
		return "", err
	}
	return id, s.recognise(id)
}

// recognise tells that an id is that of the database that was there at first.
func (s *Store) recognise(id string) error {
	if id != "" {
		s.installation.CompareAndSwap(nil, &id)
	}
	if known := s.known(); id == "" || known != id {
		return fmt.Errorf("%w: %w: its installation is %q, it was %q", storage.ErrUnavailable, storage.ErrReplaced, id, known)
	}
	return nil
}

func (s *Store) known() string {
	if known := s.installation.Load(); known != nil {
		return *known
	}
	return ""
}

// lockInstallation lets one transaction at a time change the keys or compare the
// configuration: the tables of both may be empty.
func (s *Store) lockInstallation(ctx context.Context, tx *sql.Tx) error {
	var id string
	return s.queryRow(ctx, tx, []any{&id}, `SELECT id FROM installation`+s.dialect.ForUpdate)
}

// ensureInstallation makes the one row, and keeps programs away that are too old.
func (s *Store) ensureInstallation(ctx context.Context, tx *sql.Tx, now time.Time) error {
	var id string
	err := s.queryRow(ctx, tx, []any{&id}, `SELECT id FROM installation`)
	if errors.Is(err, storage.ErrNotFound) {
		var fresh uuid.UUID
		if fresh, err = uuid.NewRandomFromReader(rand.Reader); err != nil {
			return fmt.Errorf("making an installation id: %w", err)
		}
		_, err = s.exec(ctx, tx, `INSERT INTO installation (id, created_at) VALUES (?, ?)`, fresh.String(), micros(now))
	}
	if err != nil {
		return err
	}
	_, err = s.exec(ctx, tx, `UPDATE installation SET oldest_schema = ? WHERE oldest_schema < ?`, oldestSchema, oldestSchema)
	return err
}
