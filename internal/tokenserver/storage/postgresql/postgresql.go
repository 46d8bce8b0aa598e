// SPDX-License-Identifier: Apache-2.0

// Package postgresql opens a token server's storage in a PostgreSQL database, for
// any number of replicas. Through a pooler in transaction mode such as pgbouncer it
// keeps no state in a connection outside a transaction and prepares no statement
// there; where there is no pooler, statements stay prepared.
package postgresql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlstore"
)

// DefaultMaxConnections is how many connections a replica holds at most; a server
// takes 100 of all its clients when nobody says otherwise.
const DefaultMaxConnections = 20

// Connections that nobody needs are closed, and every one after a while, so that a
// moved or a grown database is noticed.
const (
	maxIdle     = 5 * time.Minute
	maxLifetime = time.Hour
)

// Options say where the database is.
type Options struct {
	// URL is one that Problem finds nothing wrong with.
	URL string
	// PasswordFile holds the password and is read for every new connection; empty:
	// there is none.
	PasswordFile string
	// CAFile holds the certificates, PEM, that the server's is verified with;
	// empty: those of the system.
	CAFile string
	// MaxConnections is how many are held at most; zero: DefaultMaxConnections.
	MaxConnections int
}

// Open opens the database and brings its schema up to date. Errors:
// storage.ErrUnavailable when it does not answer, and RefusedError, which is that
// too, when it will not let the server in; storage.ErrNewerSchema when it belongs to
// a later release.
func Open(ctx context.Context, o Options, now time.Time) (*sqlstore.Store, error) {
	known := &installation{}
	store, where, err := o.open(ctx, known)
	if err != nil {
		return nil, err
	}
	if err := store.Migrate(ctx, now); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", where, explain(err)), store.Close())
	}
	id, err := store.InstallationID(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", where, explain(err)), store.Close())
	}
	known.id.Store(&id)
	return store, nil
}

// OpenAsIs is Open but for the schema, which it leaves as it is.
func OpenAsIs(ctx context.Context, o Options) (*sqlstore.Store, error) {
	store, _, err := o.open(ctx, &installation{})
	return store, err
}

// open checks the server and leaves the schema alone; where is for errors. Once known
// has an id, only that database is connected to.
func (o Options) open(ctx context.Context, known *installation) (store *sqlstore.Store, where string, err error) {
	config, err := o.config()
	if err != nil {
		return nil, "", fmt.Errorf("opening the PostgreSQL database: %w", err)
	}
	where = fmt.Sprintf("opening database %s of %s at %s", config.Database, config.User, address(config))
	db := o.pool(config, known)
	store = sqlstore.New(db, db, dialect, nil)
	if err := check(ctx, db); err != nil {
		return nil, "", errors.Join(fmt.Errorf("%s: %w", where, explain(err)), store.Close())
	}
	return store, where, nil
}

// oldest is the first version that is supported, as the server says it.
const oldest = 150000

// check refuses a server on which something would go wrong later.
func check(ctx context.Context, db *sql.DB) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var version int
	var name, encoding string
	err := db.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_version'), current_setting('server_encoding')`).
		Scan(&version, &name, &encoding)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	case version < oldest:
		return fmt.Errorf("the server is PostgreSQL %s; 15 or later is needed", name)
	case encoding != "UTF8":
		return fmt.Errorf("the database has the encoding %s; create it with ENCODING 'UTF8'", encoding)
	}
	return nil
}

// Keys of advisory locks, any two numbers that nobody else of the database uses.
const (
	schemaLock  = 0x6361_7073_0001
	garbageLock = 0x6361_7073_0002
)

var dialect = sqlstore.Dialect{
	System:   "postgresql",
	Identity: "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
	BigInt:   "BIGINT",
	Text:     `TEXT COLLATE "C"`,
	Blob:     "BYTEA",
	Heap:     true,
	// The lock goes with the transaction: one of a session would not hold through a
	// pooler. Others wait for it as long as migrating takes; what a migration itself
	// waits for, everybody waits for.
	LockSchema: fmt.Sprintf(`SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;
		SELECT pg_advisory_xact_lock(%d); SET LOCAL lock_timeout = %d`, schemaLock, lockTimeout.Milliseconds()),
	TryCollect: fmt.Sprintf(`SELECT pg_try_advisory_xact_lock(%d)`, garbageLock),
	// A transaction locks the table before it takes an id, and unlocks it after others
	// see what it did; also one that waits for a standby, and one that is prepared.
	Writers: `SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND relation = 'changes'::regclass
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND mode = 'RowExclusiveLock' AND granted`,
	Snapshot:  sql.LevelRepeatableRead,
	ForUpdate: " FOR UPDATE",
	Members:   "SELECT key AS id, CAST(value AS BIGINT) AS at FROM json_each_text(CAST(? AS JSON))",
	Share:     true,
	Undone:    undone,
	Rebind:    rebind,
	Size:      "SELECT pg_database_size(current_database())",
	Catalog:   catalog,
	Classify:  classify,
}

// rebind numbers the placeholders; no text of a statement holds a question mark.
func rebind(query string) string {
	if !strings.Contains(query, "?") {
		return query
	}
	numbered := make([]byte, 0, len(query)+16)
	n := int64(0)
	for i := range len(query) {
		if query[i] != '?' {
			numbered = append(numbered, query[i])
			continue
		}
		n++
		numbered = strconv.AppendInt(append(numbered, '$'), n, 10)
	}
	return string(numbered)
}

// Codes of errors.
// https://www.postgresql.org/docs/current/errcodes-appendix.html
const (
	uniqueViolation      = "23505"
	foreignKeyViolation  = "23503"
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	diskFull             = "53100"
	programLimitExceeded = "54000" // a text too long for an index
	readOnly             = "25006"
	untranslatable       = "22021" // bad UTF-8
	undefinedTable       = "42P01"
)

// undone tells that the server has answered with an error and goes on: a connection
// that is lost, or ended by the server, may have been so after the commit.
func undone(err error) bool {
	var engine *pgconn.PgError
	return errors.As(err, &engine) && engine.SeverityUnlocalized == "ERROR"
}

// classify leaves alone what says nothing about the question that was asked: a
// refused or broken connection, a timeout, a server that is shut down (57P01), that
// is read-only (25006) or has too many clients (53300).
func classify(err error) error {
	var engine *pgconn.PgError
	if !errors.As(err, &engine) {
		return err
	}
	switch engine.Code {
	case uniqueViolation:
		return fmt.Errorf("%w: %w", storage.ErrAlreadyExists, err)
	case foreignKeyViolation:
		return fmt.Errorf("what it belongs to: %w: %w", storage.ErrNotFound, err)
	case serializationFailure, deadlockDetected:
		return fmt.Errorf("%w: %w", sqlstore.ErrRolledBack, err)
	case undefinedTable: // none is missing after Open
		return fmt.Errorf("%w: it has no tables of a token server: %w", storage.ErrReplaced, err)
	case diskFull:
		return fmt.Errorf("%w: %w", storage.ErrFull, err)
	case programLimitExceeded, untranslatable:
		return fmt.Errorf("%w: %w", storage.ErrInvalidText, err)
	}
	return err
}
