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
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/pressly/goose/v3"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

//go:embed schema/*.sql
var schema embed.FS

// Migrate brings the schema up to this program's. Migrations only add, so that
// replicas of the release before keep working; storage.ErrNewerSchema when the
// database belongs to a later release.
func (s *Store) Migrate(ctx context.Context, now time.Time) error {
	migrations, newest, err := s.migrations()
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.Dialect(s.dialect.Goose), s.write, nil, goose.WithGoMigrations(migrations...))
	if err != nil {
		return fmt.Errorf("preparing migrations: %w", err)
	}
	version, err := provider.GetDBVersion(ctx)
	if err != nil {
		return s.classify("reading the schema's version", err)
	}
	if version > newest {
		return fmt.Errorf("%w: the database is at %d, this program knows %d", storage.ErrNewerSchema, version, newest)
	}
	if version < newest {
		if _, err := provider.Up(ctx); err != nil {
			return s.classify("migrating the schema", err)
		}
	}
	return s.ensureInstallationID(ctx, now)
}

// migrations turns the embedded files into goose's, with the words of the
// dialect filled in.
func (s *Store) migrations() ([]*goose.Migration, int64, error) {
	files, err := fs.Glob(schema, "schema/*.sql")
	if err != nil {
		return nil, 0, err
	}
	words := strings.NewReplacer("${STRICT}", s.dialect.Strict, "${IDENTITY}", s.dialect.Identity, "${BIGINT}", s.dialect.BigInt, "${BLOB}", s.dialect.Blob)
	var migrations []*goose.Migration
	var newest int64
	for _, file := range files {
		text, err := schema.ReadFile(file)
		if err != nil {
			return nil, 0, err
		}
		number, _, _ := strings.Cut(strings.TrimPrefix(file, "schema/"), "_")
		if newest, err = strconv.ParseInt(number, 10, 64); err != nil {
			return nil, 0, fmt.Errorf("reading the number of migration %s: %w", file, err)
		}
		statements := words.Replace(string(text))
		migrations = append(migrations, goose.NewGoMigration(newest, &goose.GoFunc{
			RunTx: func(ctx context.Context, tx *sql.Tx) error {
				_, err := tx.ExecContext(ctx, statements)
				if err == nil && strings.HasSuffix(file, refolding) {
					err = s.refoldNames(ctx, tx)
				}
				return err
			},
		}, nil))
	}
	return migrations, newest, nil
}

// InstallationID is a UUID made with the database.
func (s *Store) InstallationID(ctx context.Context) (string, error) {
	var id string
	err := s.queryRow(ctx, s.read, []any{&id}, `SELECT id FROM installation`)
	return id, err
}

func (s *Store) ensureInstallationID(ctx context.Context, now time.Time) error {
	return s.inTx(ctx, func(tx *sql.Tx) error {
		var id string
		err := s.queryRow(ctx, tx, []any{&id}, `SELECT id FROM installation`)
		if err == nil || !errors.Is(err, storage.ErrNotFound) {
			return err
		}
		fresh, err := uuid.NewRandomFromReader(rand.Reader)
		if err != nil {
			return fmt.Errorf("making an installation id: %w", err)
		}
		_, err = s.exec(ctx, tx, `INSERT INTO installation (id, created_at) VALUES (?, ?)`, fresh.String(), micros(now))
		return err
	})
}
