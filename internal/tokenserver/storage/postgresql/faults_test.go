// SPDX-License-Identifier: Apache-2.0

package postgresql_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/testenv"
	testserver "connectedapps.dev/operator/internal/testenv/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlstore"
	"connectedapps.dev/operator/internal/tokenserver/storage/storagetest"
)

// world is a database with an app and a code, and a second connection to it.
type world struct {
	t        *testing.T
	server   *testserver.Server
	database string
	store    *sqlstore.Store
	other    *pgx.Conn
	app      storage.App
	code     []byte
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, server: testserver.Shared(t), code: []byte("code")}
	w.database, _ = w.server.Database(t, migrated(t))
	w.store = openAt(t, w.server.URL(w.database))
	var err error
	w.app, err = w.store.CreateApp(t.Context(), storagetest.App(1))
	require.NoError(t, err)
	require.NoError(t, w.store.CreateCode(t.Context(), storage.AuthorizationCode{
		Hash: w.code, ClientID: w.app.ClientID, UserID: "user", OrgID: "org", GrantID: "family", ExpiresAt: storagetest.Epoch.Add(time.Hour),
	}))
	w.other = w.connect()
	return w
}

func (w *world) connect() *pgx.Conn {
	conn, err := w.server.Connect(w.t.Context(), w.database)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(w.t.Context())) })
	return conn
}

func (w *world) exec(statement string, args ...any) {
	w.t.Helper()
	_, err := w.other.Exec(w.t.Context(), statement, args...)
	require.NoError(w.t, err, statement)
}

// waiting waits until some connection waits for a lock.
func (w *world) waiting() {
	w.t.Helper()
	observer := w.connect()
	testenv.Eventually(w.t, func(c *require.Assertions) {
		var n int
		err := observer.QueryRow(w.t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&n)
		c.NoError(err)
		c.Positive(n)
	})
}

func (w *world) redeem() error {
	_, err := w.store.RedeemCode(w.t.Context(), w.code, storagetest.Epoch, &storage.RefreshFamily{
		ID: "family", Nonce: []byte{1}, Generation: 1, ClientID: w.app.ClientID, UserID: "user", OrgID: "org", CodeHash: w.code,
		ExpiresAt: storagetest.Epoch.Add(time.Hour),
	})
	return err
}

func (w *world) rotate() error {
	_, err := w.store.RotateFamily(w.t.Context(), "family", w.app.ClientID, 1, 2, storagetest.Epoch, storagetest.Epoch.Add(time.Hour))
	return err
}

// TestADeadlockIsTriedAgain lets another connection hold what the change needs next
// and want what it has.
func TestADeadlockIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	// This side does not look for the deadlock: the store meets it.
	w.exec(`SET deadlock_timeout = '1min'`)
	w.exec(`BEGIN`)
	w.exec(`UPDATE app_secrets SET last_used_at = last_used_at WHERE client_id = $1`, w.app.ClientID)
	attempts, done := 0, make(chan error, 1)
	changed, err := w.store.UpdateApp(t.Context(), w.app.ClientID, storagetest.Epoch, func(app *storage.App) error {
		if attempts++; attempts == 1 {
			go func() {
				_, err := w.other.Exec(context.WithoutCancel(t.Context()),
					`UPDATE apps SET search = search WHERE client_id = '`+w.app.ClientID+`'; COMMIT`)
				done <- err
			}()
			w.waiting()
		}
		app.Name = "changed"
		return nil
	})
	require.NoError(t, err)
	require.NoError(t, <-done)
	require.GreaterOrEqual(t, attempts, 2)
	require.Equal(t, "changed", changed.Name)
	stored, err := w.store.App(t.Context(), w.app.ClientID)
	require.NoError(t, err)
	require.Equal(t, changed.Revision, stored.Revision)
}

// TestASerializationFailureIsNoRefusal: a database whose default isolation is
// another gives up a statement that another transaction was faster than.
func TestASerializationFailureIsNoRefusal(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.redeem())
	require.NoError(t, w.server.Exec(t.Context(), "postgres",
		`ALTER DATABASE `+w.database+` SET default_transaction_isolation = 'repeatable read'`))
	fresh := openAt(t, w.server.URL(w.database))
	w.store = fresh
	w.exec(`BEGIN ISOLATION LEVEL READ COMMITTED`)
	w.exec(`UPDATE refresh_families SET session_id = 'touched' WHERE id = 'family'`)
	rotated := make(chan error, 1)
	go func() { rotated <- w.rotate() }()
	w.waiting()
	w.exec(`COMMIT`)
	require.NoError(t, <-rotated, "it is tried again")
	family, err := w.store.Family(t.Context(), "family")
	require.NoError(t, err)
	require.EqualValues(t, 2, family.Generation)
}

// TestWhatTheServerCannotDoNowIsNoAnswer meets the errors of a real server, and
// nothing that was asked meanwhile is used up.
func TestWhatTheServerCannotDoNowIsNoAnswer(t *testing.T) {
	for name, fault := range map[string]struct {
		begin, end, says string
	}{
		"too many connections": {`ALTER DATABASE %s CONNECTION LIMIT 0`, `ALTER DATABASE %s CONNECTION LIMIT -1`, "53300"},
		"a server that reads only": {
			`ALTER DATABASE %s SET default_transaction_read_only = on`, `ALTER DATABASE %s RESET default_transaction_read_only`, "read only",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.begin(fault.begin)
			err := w.redeem()
			require.ErrorIs(t, err, storage.ErrUnavailable)
			require.NotErrorIs(t, err, storage.ErrNotFound)
			require.NotErrorIs(t, err, storage.ErrAlreadyUsed)
			require.ErrorContains(t, err, fault.says)
			_, err = w.store.App(t.Context(), w.app.ClientID)
			require.ErrorIs(t, err, storage.ErrUnavailable)
			require.NotErrorIs(t, err, storage.ErrNotFound)
			w.begin(fault.end)
			require.NoError(t, w.redeem(), "without a restart")
			require.NoError(t, w.rotate())
		})
	}
}

// begin changes the database and ends the connections to it that are open.
func (w *world) begin(statement string) {
	w.t.Helper()
	for _, statement := range []string{
		fmt.Sprintf(statement, w.database),
		`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '` + w.database + `'`,
	} {
		require.NoError(w.t, w.server.Exec(w.t.Context(), "postgres", statement))
	}
	testenv.Eventually(w.t, func(c *require.Assertions) {
		var n int
		conn, err := w.server.Connect(w.t.Context(), "postgres")
		c.NoError(err)
		defer func() { _ = conn.Close(w.t.Context()) }()
		c.NoError(conn.QueryRow(w.t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = $1`, w.database).Scan(&n))
		c.Zero(n)
	})
}

// TestAServerThatBecomesAStandbyUnderAnOpenConnection: the connection is given up,
// since the address may lead to the new primary.
func TestAServerThatBecomesAStandbyUnderAnOpenConnection(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.redeem())
	require.NoError(t, w.server.Exec(t.Context(), "postgres", `ALTER ROLE tokenserver IN DATABASE `+w.database+` SET default_transaction_read_only = on`))
	// As it is for a connection that was open: its session reads only.
	fresh := openReadOnly(t, w)
	err := fresh()
	require.ErrorIs(t, err, storage.ErrUnavailable)
	require.ErrorContains(t, err, "25006")
	require.NoError(t, w.server.Exec(t.Context(), "postgres", `ALTER ROLE tokenserver IN DATABASE `+w.database+` RESET default_transaction_read_only`))
	require.NoError(t, fresh(), "on a new connection")
}

// openReadOnly opens a store whose URL takes a standby, and rotates.
func openReadOnly(t *testing.T, w *world) func() error {
	o := options(t, w.server.URL(w.database))
	o.URL += "&target_session_attrs=any"
	store, err := postgresql.Open(t.Context(), o, storagetest.Epoch)
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	w.store = store
	return w.rotate
}

// TestAFullDiskIsToldAndLosesNothing fills the one file that a code's redemption
// grows.
func TestAFullDiskIsToldAndLosesNothing(t *testing.T) {
	w := newWorld(t)
	path := w.fileOf("refresh_families")
	require.NoError(t, w.server.Exec(t.Context(), w.database, `CHECKPOINT`))
	w.begin(`ALTER DATABASE %s CONNECTION LIMIT -1`)
	aside := path + ".aside"
	require.NoError(t, os.Rename(path, aside))
	// Every write finds no space left, as on a disk that is full.
	require.NoError(t, os.Symlink("/dev/full", path))
	err := w.redeem()
	require.ErrorIs(t, err, storage.ErrFull)
	require.ErrorIs(t, err, storage.ErrUnavailable)
	code, err := w.store.Code(t.Context(), w.code)
	require.NoError(t, err)
	require.True(t, code.RedeemedAt.IsZero(), "the code was not used")
	w.begin(`ALTER DATABASE %s CONNECTION LIMIT -1`)
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Rename(aside, path))
	require.NoError(t, w.redeem(), "once there is room")
}

// fileOf is the file of a table.
func (w *world) fileOf(table string) string {
	w.t.Helper()
	var data, path string
	require.NoError(w.t, w.other.QueryRow(w.t.Context(), `SELECT current_setting('data_directory'), pg_relation_filepath($1)`, table).Scan(&data, &path))
	return filepath.Join(data, path)
}

func TestAPasswordThatChangedInItsFileIsUsed(t *testing.T) {
	w := newWorld(t)
	for _, statement := range []string{
		`DROP ROLE IF EXISTS rotating`, `CREATE ROLE rotating LOGIN PASSWORD 'first' IN ROLE tokenserver`,
	} {
		require.NoError(t, w.server.Exec(t.Context(), "postgres", statement))
	}
	t.Cleanup(func() { _ = w.server.Exec(context.WithoutCancel(t.Context()), "postgres", `DROP ROLE rotating`) })
	o := options(t, "postgresql://rotating:first@127.0.0.1:"+strconv.Itoa(w.server.Port)+"/"+w.database+"?sslmode=disable")
	store, err := postgresql.Open(t.Context(), o, storagetest.Epoch)
	require.NoError(t, err)
	defer func() { require.NoError(t, store.Close()) }()
	w.begin(`ALTER ROLE rotating PASSWORD 'second' /* of %s */`)
	_, err = store.CreateApp(t.Context(), storagetest.App(2))
	require.ErrorIs(t, err, storage.ErrUnavailable)
	require.ErrorContains(t, err, "password authentication failed")
	require.NotContains(t, err.Error(), "first")
	require.NoError(t, os.WriteFile(o.PasswordFile, []byte("second\n"), 0o600))
	_, err = store.App(t.Context(), w.app.ClientID)
	require.NoError(t, err)
}
