// SPDX-License-Identifier: Apache-2.0

package sqlcopy_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	testserver "connectedapps.dev/operator/internal/testenv/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlcopy"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlstore"
)

func (d *database) copyTo(target *database, o sqlcopy.Options) ([]sqlcopy.Table, error) {
	from, to := d.opened(), target.opened()
	defer func() { _, _ = from.Close(), to.Close() }()
	return sqlcopy.Copy(d.t.Context(), from, to, o)
}

// TestEveryTableAndColumnIsCopiedThereAndBack asks the databases which tables and
// columns there are, so that it notices what a migration adds and a copy leaves out.
func TestEveryTableAndColumnIsCopiedThereAndBack(t *testing.T) {
	first, second, third, fourth := newSQLite(t).made().fill(), newPostgreSQL(t), newSQLite(t), newPostgreSQL(t)
	want := first.dump()
	tables, err := first.copyTo(second, sqlcopy.Options{})
	require.NoError(t, err)
	require.Equal(t, want, second.dump())
	require.Len(t, tables, len(first.tables())-1, "all but that of the migrations, which the target makes")
	for _, table := range tables {
		require.NotZero(t, table.Rows, table.Name)
	}
	again, err := second.copyTo(third, sqlcopy.Options{})
	require.NoError(t, err)
	require.Equal(t, tables, again)
	require.Equal(t, want, third.dump())
	_, err = third.copyTo(fourth, sqlcopy.Options{})
	require.NoError(t, err)
	require.Equal(t, want, fourth.dump(), "a copy of the copy")
	require.Equal(t, want, first.dump(), "the source is what it was")

	for _, d := range []*database{second, third} {
		d.raw(func(db *sql.DB) {
			row := read(t, db, `INSERT INTO changes (kind, name, at) VALUES ('app', 'x', 1) RETURNING id`)
			require.Equal(t, int64(51), row[0][0], "the feed goes on after the last entry that ever was")
		})
		s, err := d.migrate()
		require.NoError(t, err, "this program works on it")
		require.NoError(t, s.Close())
	}
}

func TestAnUnusedDatabaseIsCopiedAsItIs(t *testing.T) {
	first, second := newSQLite(t).made(), newPostgreSQL(t)
	_, err := first.copyTo(second, sqlcopy.Options{})
	require.NoError(t, err)
	require.Equal(t, first.dump(), second.dump())
	second.raw(func(db *sql.DB) {
		row := read(t, db, `INSERT INTO changes (kind, name, at) VALUES ('app', 'x', 1) RETURNING id`)
		require.Equal(t, int64(1), row[0][0])
	})
}

func TestManyRowsAreCopiedInPortions(t *testing.T) {
	first, second := newSQLite(t).made(), newPostgreSQL(t)
	const rows = 1777
	first.exec(fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		INSERT INTO used_assertions (client_id, jti, expires_at) SELECT 'c' || (i %% 7), 'j' || i, i FROM n`, rows))
	var steps []sqlcopy.Step
	_, err := first.copyTo(second, sqlcopy.Options{Progress: func(s sqlcopy.Step) {
		if s.Table == "used_assertions" {
			steps = append(steps, s)
		}
	}})
	require.NoError(t, err)
	require.Equal(t, first.dump(), second.dump())
	require.Equal(t, sqlcopy.Step{Doing: "copying", Table: "used_assertions", Rows: 500, Of: rows}, steps[0])
	require.Equal(t, sqlcopy.Step{Doing: "comparing", Table: "used_assertions", Rows: rows, Of: rows}, steps[len(steps)-1])
}

func TestASourceOfAnotherSchemaIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		change []string
		want   error
		says   string
	}{
		"a column of its own": {[]string{`ALTER TABLE sessions ADD COLUMN colour TEXT`}, sqlcopy.ErrUnknown, "sessions.colour, which it does not know"},
		"a table of its own":  {[]string{`CREATE TABLE colours (name TEXT)`}, sqlcopy.ErrUnknown, "colours.name"},
		"a missing column":    {[]string{`ALTER TABLE sessions DROP COLUMN user_epoch`}, sqlcopy.ErrUnknown, "the source lacks the column sessions.user_epoch"},
		"a missing table":     {[]string{`DROP TABLE opaque_tokens`}, sqlcopy.ErrUnknown, "lacks the column opaque_tokens."},
		"a later release":     {[]string{`INSERT INTO goose_db_version VALUES (9000, 1)`}, storage.ErrNewerSchema, "its schema is at 9000"},
		"an earlier release":  {[]string{`DELETE FROM goose_db_version WHERE version_id = 5`}, sqlstore.ErrOlderSchema, "its schema is at"},
	} {
		t.Run(name, func(t *testing.T) {
			source, target := newSQLite(t).made(), newSQLite(t)
			source.exec(test.change...)
			_, err := source.copyTo(target, sqlcopy.Options{})
			require.ErrorIs(t, err, test.want)
			require.ErrorContains(t, err, test.says)
			require.Empty(t, target.tables())
		})
	}
	for _, source := range []*database{newSQLite(t), newPostgreSQL(t)} {
		source.exec(`CREATE TABLE accounts (name TEXT)`)
		_, err := source.copyTo(newSQLite(t), sqlcopy.Options{})
		require.ErrorIs(t, err, sqlstore.ErrNoTables)
	}
}

// TestTheTableOfAnEarlierToolIsUnderstood: databases of the first releases have
// more columns there.
func TestTheTableOfAnEarlierToolIsUnderstood(t *testing.T) {
	source, target := newSQLite(t).made(), newSQLite(t)
	source.exec(`ALTER TABLE goose_db_version ADD COLUMN tstamp TEXT`, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, 1)`)
	_, err := source.copyTo(target, sqlcopy.Options{})
	require.NoError(t, err)
}

func TestATargetThatIsNotEmptyIsRefused(t *testing.T) {
	source := newSQLite(t).made().fill()
	for name, target := range map[string]*database{"SQLite": newSQLite(t), "PostgreSQL": newPostgreSQL(t)} {
		t.Run(name, func(t *testing.T) {
			target.exec(`CREATE TABLE accounts (name TEXT)`)
			_, err := source.copyTo(target, sqlcopy.Options{})
			require.ErrorIs(t, err, sqlstore.ErrNotEmpty)
			require.ErrorContains(t, err, "it has the tables accounts")
			require.Equal(t, []string{"accounts"}, target.tables())
		})
	}
}

// TestADatabaseIsNotCopiedOntoItself: it holds the lock that the target would wait
// for.
func TestADatabaseIsNotCopiedOntoItself(t *testing.T) {
	d := newPostgreSQL(t).made()
	_, err := d.copyTo(d, sqlcopy.Options{})
	require.ErrorIs(t, err, sqlstore.ErrNotEmpty)
}

func TestNothingIsKeptOfACopyThatFails(t *testing.T) {
	source := newSQLite(t).made().fill()
	wrong := errors.New("the key does not fit")
	for name, target := range map[string]*database{"SQLite": newSQLite(t), "PostgreSQL": newPostgreSQL(t)} {
		t.Run(name, func(t *testing.T) {
			checks := 0
			_, err := source.copyTo(target, sqlcopy.Options{Check: func(ctx context.Context, keys storage.KeyReader) error {
				data, err := keys.DataKeys(ctx)
				require.NoError(t, err)
				require.NotEmpty(t, data)
				_, err = keys.SigningKeys(ctx)
				require.NoError(t, err)
				if checks++; checks == 2 {
					return wrong // of the target
				}
				return nil
			}})
			require.ErrorIs(t, err, wrong)
			require.Empty(t, target.tables())

			ctx, cancel := context.WithCancel(t.Context())
			from, to := source.opened(), target.opened()
			_, err = sqlcopy.Copy(ctx, from, to, sqlcopy.Options{Progress: func(s sqlcopy.Step) {
				if s.Doing == "comparing" {
					cancel()
				}
			}})
			require.ErrorIs(t, err, context.Canceled)
			require.NoError(t, errors.Join(from.Close(), to.Close()))
			require.Empty(t, target.tables())
			_, err = source.copyTo(target, sqlcopy.Options{})
			require.NoError(t, err, "and it can be tried again")
		})
	}
}

const (
	envSource = "SQLCOPY_TEST_SOURCE"
	envTarget = "SQLCOPY_TEST_TARGET"
)

// TestAKilledCopyLeavesTheTargetEmpty runs itself as the process that is killed,
// once everything is written and before it is kept.
func TestAKilledCopyLeavesTheTargetEmpty(t *testing.T) {
	at := func(address string) *database {
		if path, ok := strings.CutPrefix(address, "file:"); ok {
			path, _, _ = strings.Cut(path, "?")
			return sqliteAt(t, path)
		}
		return postgreSQLAt(t, address)
	}
	if os.Getenv(envSource) != "" {
		_, err := at(os.Getenv(envSource)).copyTo(at(os.Getenv(envTarget)), sqlcopy.Options{Progress: func(s sqlcopy.Step) {
			if s.Doing == "comparing" {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {} // until the signal arrives
			}
		}})
		t.Fatal("it lives: ", err)
	}
	source := newSQLite(t).made().fill()
	for name, target := range map[string]*database{"SQLite": newSQLite(t), "PostgreSQL": newPostgreSQL(t)} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAKilledCopyLeavesTheTargetEmpty$")
			cmd.Env = append(os.Environ(), envSource+"="+source.source, envTarget+"="+target.source)
			output, err := cmd.CombinedOutput()
			require.Error(t, err)
			status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
			require.Equal(t, syscall.SIGKILL, status.Signal(), string(output))
			require.Empty(t, target.tables())
			_, err = source.copyTo(target, sqlcopy.Options{})
			require.NoError(t, err)
			require.Equal(t, source.dump(), target.dump())
		})
	}
}

// serve does what a server does beside requests: it asks the feed twice a second.
func serve(t *testing.T, s *sqlstore.Store) (stop func()) {
	done, stopped := make(chan struct{}), make(chan struct{})
	first := make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(500 * time.Millisecond)
		defer ticker.Stop()
		for n := 0; ; n++ {
			if _, err := s.Changes(context.WithoutCancel(t.Context()), 0); err != nil {
				t.Error(err)
			}
			if n == 0 {
				close(first)
			}
			select {
			case <-done:
				return
			case <-ticker.C:
			}
		}
	}()
	<-first
	return func() {
		close(done)
		<-stopped
	}
}

func TestAServerThatWorksOnTheSourceIsNoticed(t *testing.T) {
	server := testserver.Shared(t)
	for name, url := range map[string]func(string) string{"directly": server.URL, "through pgbouncer": testserver.SharedBouncer(t).URL} {
		t.Run(name, func(t *testing.T) {
			database, _ := server.Database(t, "")
			source := postgreSQLAt(t, url(database)).made()
			running, err := source.migrate()
			require.NoError(t, err)
			target := newSQLite(t)
			stop := serve(t, running)
			_, err = source.copyTo(target, sqlcopy.Options{})
			stop()
			require.ErrorIs(t, err, storage.ErrInUse)
			require.ErrorContains(t, err, "tokenserver (pid ")
			require.Empty(t, target.tables())

			// Its connections are still there, with nobody at work.
			_, err = source.copyTo(newSQLite(t), sqlcopy.Options{})
			require.NoError(t, err, "it has stopped")

			_, err = source.copyTo(target, sqlcopy.Options{Check: func(ctx context.Context, _ storage.KeyReader) error {
				_, err := running.Changes(ctx, 0)
				return err
			}})
			require.ErrorIs(t, err, storage.ErrInUse, "also one that comes during the copy")
			require.Empty(t, target.tables())
			require.NoError(t, running.Close())
		})
	}
}

// TestAServerThatStartsOnTheTargetFindsTheWholeCopy: it waits for the lock of the
// schema instead of making a database of its own.
func TestAServerThatStartsOnTheTargetFindsTheWholeCopy(t *testing.T) {
	source, target := newSQLite(t).made(), newPostgreSQL(t)
	started := make(chan *sqlstore.Store, 1)
	starting := false
	_, err := source.copyTo(target, sqlcopy.Options{Progress: func(sqlcopy.Step) {
		if starting {
			return
		}
		starting = true
		go func() {
			s, err := target.migrate()
			if err != nil {
				t.Error(err)
			}
			started <- s
		}()
		// The server has begun when it waits for a lock.
		target.raw(func(db *sql.DB) {
			require.Eventually(t, func() bool {
				return len(read(t, db, `SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
					AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)) > 0
			}, time.Minute, 10*time.Millisecond)
		})
	}})
	require.NoError(t, err)
	s := <-started
	require.NotNil(t, s)
	require.NoError(t, s.Close())
	require.Equal(t, source.dump(), target.dump())
}

func TestATextThatNoOtherEngineStoresIsNamed(t *testing.T) {
	for name, text := range map[string]string{"no UTF-8": `X'ff'`, "a zero byte": `X'610062'`, "half of a surrogate": `X'eda080'`} {
		t.Run(name, func(t *testing.T) {
			source, target := newSQLite(t).made(), newPostgreSQL(t)
			source.exec(`INSERT INTO configured (kind, name, state) VALUES ('user', CAST(` + text + ` AS TEXT), '')`)
			_, err := source.copyTo(target, sqlcopy.Options{})
			require.ErrorIs(t, err, storage.ErrInvalidText)
			require.ErrorContains(t, err, "copying table configured: ")
			require.Empty(t, target.tables())
		})
	}
}

func TestALongRowIsCopied(t *testing.T) {
	first, second, third := newSQLite(t).made(), newPostgreSQL(t), newSQLite(t)
	first.exec(`INSERT INTO data_keys (purpose, wrapped, wrapped_by, created_at) VALUES ('long', randomblob(5000000), hex(randomblob(2000000)), -1)`)
	_, err := first.copyTo(second, sqlcopy.Options{})
	require.NoError(t, err)
	_, err = second.copyTo(third, sqlcopy.Options{})
	require.NoError(t, err)
	require.True(t, slices.Equal(first.dump(), third.dump()))
}

// TestOfTwoCopiesIntoOneDatabaseOneIsKept: somebody started it twice.
func TestOfTwoCopiesIntoOneDatabaseOneIsKept(t *testing.T) {
	for name, target := range map[string]*database{"SQLite": newSQLite(t), "PostgreSQL": newPostgreSQL(t)} {
		t.Run(name, func(t *testing.T) {
			// Two of one SQLite file exclude each other before.
			sources := []*database{newSQLite(t).made().fill(), newSQLite(t).made().fill()}
			errs := make([]error, len(sources))
			var all sync.WaitGroup
			for i, source := range sources {
				all.Go(func() {
					from, err := source.open()
					if err != nil {
						errs[i] = err
						return
					}
					to, err := target.open()
					if err == nil {
						_, err = sqlcopy.Copy(t.Context(), from, to, sqlcopy.Options{})
						err = errors.Join(err, to.Close())
					}
					errs[i] = errors.Join(err, from.Close())
				})
			}
			all.Wait()
			kept, lost := 0, errs[1]
			if errs[0] != nil {
				kept, lost = 1, errs[0]
			}
			require.NoError(t, errs[kept])
			require.Error(t, lost)
			require.True(t, errors.Is(lost, sqlstore.ErrNotEmpty) || errors.Is(lost, storage.ErrInUse), lost)
			require.Equal(t, sources[kept].dump(), target.dump())
		})
	}
}

// TestWhatIsWrittenMeanwhileIsNotLost: nobody writes to a SQLite database while it is
// copied.
func TestWhatIsWrittenMeanwhileIsNotLost(t *testing.T) {
	source := newSQLite(t).made().fill()
	running, err := source.migrate()
	require.NoError(t, err)
	_, err = source.open()
	require.ErrorIs(t, err, storage.ErrInUse)
	require.NoError(t, running.Close())
	_, err = source.copyTo(newPostgreSQL(t), sqlcopy.Options{Check: func(context.Context, storage.KeyReader) error {
		_, err := source.migrate()
		require.ErrorIs(t, err, storage.ErrInUse)
		return nil
	}})
	require.NoError(t, err)
}
