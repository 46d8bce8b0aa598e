// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"modernc.org/sqlite"
)

// maxPrepared is how many statements a connection keeps prepared: more than there
// are that requests use.
const maxPrepared = 64

// pool opens no connection yet.
func pool(dsn string) (*sql.DB, error) {
	base, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector{base}), nil
}

// connector makes connections that keep their statements.
type connector struct{ driver.Connector }

// Connect implements driver.Connector.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	opened, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &connection{conn: opened.(conn), idle: map[string]driver.Stmt{}}, nil //nolint:forcetypeassert // documented
}

// conn is what every connection of the driver implements.
type conn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// connection keeps statements prepared: preparing one takes longer than most of them
// do. It is used by one caller at a time, as database/sql promises.
type connection struct {
	conn
	// idle are the statements by their text that nobody reads rows of.
	idle map[string]driver.Stmt
}

// Unwrap is for the driver's own functions.
func (c *connection) Unwrap() driver.Conn { return c.conn }

// take returns a statement that nobody uses.
func (c *connection) take(ctx context.Context, query string) (driver.Stmt, error) {
	if statement, ok := c.idle[query]; ok {
		delete(c.idle, query)
		return statement, nil
	}
	return c.PrepareContext(ctx, query)
}

// give keeps a statement for the next time, unless it has failed.
func (c *connection) give(query string, statement driver.Stmt, failed error) error {
	if _, twice := c.idle[query]; failed != nil || twice || len(c.idle) >= maxPrepared {
		return statement.Close()
	}
	c.idle[query] = statement
	return nil
}

// ExecContext implements driver.ExecerContext.
func (c *connection) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if len(args) == 0 { // it may be several statements
		return c.conn.ExecContext(ctx, query, args)
	}
	statement, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	result, err := statement.(driver.StmtExecContext).ExecContext(ctx, args) //nolint:forcetypeassert // documented
	return result, errors.Join(err, c.give(query, statement, err))
}

// QueryContext implements driver.QueryerContext.
func (c *connection) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	statement, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	found, err := statement.(driver.StmtQueryContext).QueryContext(ctx, args) //nolint:forcetypeassert // documented
	if err != nil {
		return nil, errors.Join(err, c.give(query, statement, err))
	}
	return &rows{found, func(err error) error { return c.give(query, statement, err) }}, nil
}

// Close implements driver.Conn.
func (c *connection) Close() error {
	var errs []error
	for query, statement := range c.idle {
		if err := statement.Close(); err != nil {
			errs = append(errs, fmt.Errorf("closing statement %q: %w", query, err))
		}
	}
	clear(c.idle)
	return errors.Join(append(errs, c.conn.Close())...)
}

// rows give their statement back once they are read.
type rows struct {
	driver.Rows
	give func(failed error) error
}

// Close implements driver.Rows. Its error may be that of a change which returned
// rows and could not be committed.
func (r *rows) Close() error {
	err := r.Rows.Close()
	return errors.Join(err, r.give(err))
}
