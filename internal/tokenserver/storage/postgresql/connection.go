// SPDX-License-Identifier: Apache-2.0

package postgresql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// What the server does to a transaction whose client is slow or gone. The client
// itself gives up after ten seconds; these are for what it cannot end any more, so
// that nothing holds a lock for longer, but for a commit that waits for a standby.
const (
	statementTimeout = 10 * time.Second
	lockTimeout      = 5 * time.Second
	idleTimeout      = 10 * time.Second
)

// begin and beginSnapshot leave nothing to the defaults of a database or a role. A
// statement without arguments takes one round trip, whatever it holds.
var (
	limits = fmt.Sprintf("; SET LOCAL statement_timeout = %d; SET LOCAL lock_timeout = %d; SET LOCAL idle_in_transaction_session_timeout = %d",
		statementTimeout.Milliseconds(), lockTimeout.Milliseconds(), idleTimeout.Milliseconds())
	begin         = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE" + limits
	beginSnapshot = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" + limits
)

// pool opens no connection yet.
func (o Options) pool(config *pgx.ConnConfig, known *installation) *sql.DB {
	readPassword := stdlib.OptionBeforeConnect(func(_ context.Context, c *pgx.ConnConfig) (err error) {
		c.Password, err = readPassword(o.PasswordFile)
		return err
	})
	db := sql.OpenDB(connector{
		Connector: stdlib.GetConnector(*config, readPassword), known: known, modeNamed: strings.Contains(o.URL, "default_query_exec_mode="),
	})
	connections := o.MaxConnections
	if connections == 0 {
		connections = DefaultMaxConnections
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxIdleTime(maxIdle)
	db.SetConnMaxLifetime(maxLifetime)
	return db
}

// connector makes connections that begin transactions with limits, and none to
// another database than the first: after a failover an address may lead there.
type connector struct {
	driver.Connector
	known *installation
	// modeNamed tells that the URL says how statements are sent.
	modeNamed bool
}

// installation is the database that was opened.
type installation struct {
	// id is nil until it is open.
	id atomic.Pointer[string]
}

// check refuses every other database.
func (i *installation) check(ctx context.Context, conn *pgx.Conn) error {
	known := i.id.Load()
	if known == nil {
		return nil
	}
	var id string
	err := conn.QueryRow(ctx, `SELECT id FROM installation`).Scan(&id)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) || id == *known {
		return err
	}
	return fmt.Errorf("%w: its installation is %q, it was %q", storage.ErrReplaced, id, *known)
}

// Connect implements driver.Connector.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	opened, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	conn := &connection{Conn: opened.(*stdlib.Conn)} //nolint:forcetypeassert // documented
	if err := c.known.check(ctx, conn.Conn.Conn()); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if c.modeNamed {
		return conn, nil
	}
	if err := conn.chooseMode(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// chooseMode lets statements stay prepared, which halves what a short one costs the
// server, where each next one meets the same server process: that is so when the
// process is the one that the connection was begun with. A pooler names another, or
// none.
func (c *connection) chooseMode(ctx context.Context) error {
	conn := c.Conn.Conn()
	var process uint32
	if err := conn.QueryRow(ctx, `SELECT pg_backend_pid()`, pgx.QueryExecModeSimpleProtocol).Scan(&process); err != nil {
		return err
	}
	if process == conn.PgConn().PID() {
		c.mode = []driver.NamedValue{{Value: pgx.QueryExecModeCacheStatement}}
	}
	return nil
}

// connection is one of pgx that begins its transactions itself.
type connection struct {
	*stdlib.Conn
	// mode goes before the arguments of a statement; empty: the configuration's.
	mode []driver.NamedValue
	// useless tells that the server behind it can do nothing for us any more.
	useless bool
}

var (
	_ driver.ConnBeginTx    = (*connection)(nil)
	_ driver.ExecerContext  = (*connection)(nil)
	_ driver.QueryerContext = (*connection)(nil)
	_ driver.Validator      = (*connection)(nil)
)

// BeginTx implements driver.ConnBeginTx.
func (c *connection) BeginTx(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	if c.Conn.Conn().IsClosed() {
		return nil, driver.ErrBadConn
	}
	query := begin
	if options.ReadOnly {
		query = beginSnapshot
	}
	tx, err := c.Conn.Conn().BeginTx(ctx, pgx.TxOptions{BeginQuery: query})
	if err != nil {
		// Nothing has happened yet: another connection may do.
		if pgconn.SafeToRetry(err) || ended(err) {
			return nil, driver.ErrBadConn
		}
		return nil, c.note(err)
	}
	return transaction{ctx: ctx, tx: tx}, nil
}

// ended tells that the server has ended the connection.
func ended(err error) bool {
	var engine *pgconn.PgError
	return errors.As(err, &engine) && engine.SeverityUnlocalized == "FATAL"
}

// ExecContext implements driver.ExecerContext.
func (c *connection) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	result, err := c.Conn.ExecContext(ctx, query, c.with(args))
	return result, c.note(err)
}

// QueryContext implements driver.QueryerContext.
func (c *connection) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := c.Conn.QueryContext(ctx, query, c.with(args))
	return rows, c.note(err)
}

// with puts the mode before arguments. A statement without any may be several, of
// which none can be prepared.
func (c *connection) with(args []driver.NamedValue) []driver.NamedValue {
	if len(args) == 0 || len(c.mode) == 0 {
		return args
	}
	return append(c.mode[:1:1], args...)
}

// note remembers that the server became a standby: after a failover the address
// may lead to another, which only a new connection finds.
func (c *connection) note(err error) error {
	var engine *pgconn.PgError
	if errors.As(err, &engine) && (engine.Code == readOnly || strings.HasPrefix(engine.Code, "57P")) {
		c.useless = true
	}
	return err
}

// IsValid implements driver.Validator.
func (c *connection) IsValid() bool { return !c.useless }

// transaction ends within the time of its beginning.
type transaction struct {
	ctx context.Context //nolint:containedctx // driver.Tx has no room for one
	tx  pgx.Tx
}

func (t transaction) Commit() error { return t.tx.Commit(t.ctx) }

func (t transaction) Rollback() error { return t.tx.Rollback(t.ctx) }
