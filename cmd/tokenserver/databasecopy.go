// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"connectedapps.dev/operator/internal/options/tokenserveroptions"
	"connectedapps.dev/operator/internal/tokenserver/keys"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlcopy"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlstore"
)

func databaseCommand() *cobra.Command {
	return group("database", "Copy the database to the other engine, back it up, restore it",
		databaseCopyCommand(), databaseBackupCommand(), databaseRestoreCommand())
}

func databaseCopyCommand() *cobra.Command {
	var c databaseCopy
	cmd := &cobra.Command{
		Use:   "copy",
		Short: "Copy everything from SQLite to PostgreSQL, or back",
		Long: `copy copies everything that a token server keeps to another database, from SQLite
to PostgreSQL or back: apps and their secrets, keys, tokens, sessions, consents
and revocations. What was issued goes on working. A configuration file names each
database; usually the second is a copy of the first with another storage.

Stop all servers first: copy refuses when one runs. The target must be empty: a
SQLite file that is not there, a PostgreSQL database without tables. All is written
in one transaction, read back and compared row by row. When anything fails, or copy
is killed, the target stays empty. The encryption keys of the second file must open
the keys of the database. The source is left as it is.

Then start the server with the second file, and never again with the first: neither
database would know what is issued and revoked on the other.`,
		Example: `  cp tokenserver.yaml postgresql.yaml     # and change storage in it
  tokenserver database copy --from=tokenserver.yaml --to=postgresql.yaml
  tokenserver serve --config=postgresql.yaml`,
		Args: cobra.NoArgs,
		PreRunE: func(*cobra.Command, []string) error {
			if c.to == "" {
				return errors.New("--to is required: the configuration file of the empty database")
			}
			return nil
		},
		RunE: doing(func(cmd *cobra.Command, _ []string) error {
			c.out, c.progress = cmd.OutOrStdout(), cmd.ErrOrStderr()
			return c.run(cmd.Context())
		}),
	}
	cmd.Flags().StringVar(&c.from, "from", fileConfig, "configuration `file` of the database that is copied")
	cmd.Flags().StringVar(&c.to, "to", "", "configuration `file` of the empty database (default none: it is required)")
	return cmd
}

// databaseCopy is one run of copy.
type databaseCopy struct {
	from, to      string // configuration files
	out, progress io.Writer
}

func (c *databaseCopy) run(ctx context.Context) error {
	source, err := loadConfig(c.from)
	if err != nil {
		return err
	}
	target, err := loadConfig(c.to)
	if err != nil {
		return err
	}
	if sameFile(source.Storage.SQLite.Path, target.Storage.SQLite.Path) {
		return &failure{
			err:  fmt.Errorf("copying: %s and %s name the same database, %s", c.from, c.to, databaseOf(source.Storage)),
			hint: "name another database under storage of " + c.to,
		}
	}
	encryption, err := keys.LoadEncryptionKeys(target.EncryptionKeyFiles)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(c.out, "from  %s\nto    %s\n\n", databaseOf(source.Storage), databaseOf(target.Storage))
	opened := 0
	tables, err := copyBetween(ctx, source.Storage, target.Storage, sqlcopy.Options{
		Check: func(ctx context.Context, reader storage.KeyReader) (err error) {
			opened, err = keys.Check(ctx, reader, encryption)
			return err
		},
		Progress: tellEvery(progressEvery, c.progress),
	})
	if err != nil {
		return &failure{err: fmt.Errorf("copying: %w", err), hint: c.hint(err, target.Storage)}
	}
	return c.report(tables, opened)
}

func (c *databaseCopy) report(tables []sqlcopy.Table, opened int) error {
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "TABLE\tROWS")
	rows := int64(0)
	for _, table := range tables {
		_, _ = fmt.Fprintf(w, "%s\t%d\n", table.Name, table.Rows)
		rows += table.Rows
	}
	_ = w.Flush()
	_, err := fmt.Fprintf(c.out, `
%d tables with %d rows were copied, read back and found equal.
All %d keys can be opened with the encryption keys of %s.
Start the server with --config=%s, and never again with --config=%s.
`, len(tables), rows, opened, c.to, shellQuoted(c.to), shellQuoted(c.from))
	return err
}

// hint says what to do about an error of the copy.
func (c *databaseCopy) hint(err error, target tokenserveroptions.Storage) string {
	var engine *pgconn.PgError
	if errors.As(err, &engine) && engine.Code == mayNot {
		return "let the user make tables in it: the database should be its own (ALTER DATABASE ... OWNER TO ...)"
	}
	for _, known := range []struct {
		is   error
		hint string
	}{
		{sqlstore.ErrInDoubt, "copy again: should the database not be empty then, the copy is in it, complete and compared"},
		{storage.ErrInUse, "stop every token server, and whoever else works on the database, then copy again; nothing was written"},
		{sqlstore.ErrNotEmpty, emptyHint(target)},
		{sqlstore.ErrOlderSchema, "let `tokenserver serve --config=" + shellQuoted(c.from) + "` of this release migrate it, stop that and copy again"},
		{storage.ErrNewerSchema, "copy with the release that wrote it, or a later one"},
		{sqlstore.ErrNoTables, "correct storage in " + c.from},
		{keys.ErrWrongKey, "list the encryption keys of " + c.from + " under encryptionKeyFiles of " + c.to + "; nothing was written"},
		{fs.ErrNotExist, "correct storage in " + c.from},
	} {
		if errors.Is(err, known.is) {
			return known.hint
		}
	}
	return ""
}

// mayNot is insufficient_privilege.
const mayNot = "42501"

func emptyHint(target tokenserveroptions.Storage) string {
	if target.PostgreSQL == nil {
		return "name a file that is not there in storage.sqlite.path, or move this one away"
	}
	return "make a new database (CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0) and name it in storage.postgresql.url"
}

// copyBetween opens both databases. What it makes of a SQLite file is removed again
// when it fails.
func copyBetween(ctx context.Context, source, target tokenserveroptions.Storage, o sqlcopy.Options) (tables []sqlcopy.Table, err error) {
	// Opening it would make a new one.
	if err := exists(source); err != nil {
		return nil, err
	}
	from, err := openAsIs(ctx, source)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	absent := exists(target) != nil
	to, err := openAsIs(ctx, target)
	if err != nil {
		return nil, err
	}
	defer func() {
		// What is not empty is another copy's, which was faster.
		kept := errors.Is(err, sqlstore.ErrInDoubt) || errors.Is(err, sqlstore.ErrNotEmpty)
		if err = errors.Join(err, to.Close()); err != nil && absent && !kept {
			_ = os.Remove(target.SQLite.Path)
		}
	}()
	return sqlcopy.Copy(ctx, from, to, o)
}

func openAsIs(ctx context.Context, config tokenserveroptions.Storage) (*sqlstore.Store, error) {
	if config.PostgreSQL != nil {
		return postgresql.OpenAsIs(ctx, config.PostgreSQL.Options())
	}
	return sqlite.OpenAsIs(config.SQLite.Path)
}

// exists tells whether the file of a SQLite database is there.
func exists(config tokenserveroptions.Storage) error {
	if config.PostgreSQL != nil {
		return nil
	}
	if _, err := os.Stat(config.SQLite.Path); err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	return nil
}

func loadConfig(path string) (*tokenserveroptions.Config, error) {
	loaded, err := tokenserveroptions.Load(path, tokenserveroptions.Overrides{})
	if err != nil {
		return nil, fmt.Errorf("loading %s: %w", path, err)
	}
	return loaded.Config, nil
}

// databaseOf names a database for people; a URL holds no password.
func databaseOf(config tokenserveroptions.Storage) string {
	if config.PostgreSQL != nil {
		return "PostgreSQL database " + config.PostgreSQL.URL
	}
	return "SQLite database " + config.SQLite.Path
}

// sameFile tells whether two paths lead to one file; an empty one leads nowhere.
func sameFile(a, b string) bool {
	absolute, err := filepath.Abs(a)
	other, otherErr := filepath.Abs(b)
	if a == "" || b == "" || err != nil || otherErr != nil {
		return false
	}
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return absolute == other || errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// progressEvery is how often somebody who waits is told how far it is.
const progressEvery = 2 * time.Second

// tellEvery writes a step when the last one was written so long ago.
func tellEvery(interval time.Duration, w io.Writer) func(sqlcopy.Step) {
	last := time.Now()
	return func(s sqlcopy.Step) {
		if time.Since(last) < interval {
			return
		}
		last = time.Now()
		_, _ = fmt.Fprintf(w, "%s %s: %d of %d rows\n", s.Doing, s.Table, s.Rows, s.Of)
	}
}
