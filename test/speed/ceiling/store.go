// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	_ "modernc.org/sqlite" // the driver
)

// store keeps what must be kept, with one statement for each thing.
type store interface {
	// rotate makes the next generation the current one; errRefused when another
	// one is current.
	rotate(ctx context.Context, family []byte, generation int64, now time.Time) (user, scope string, err error)
	// use notes an assertion; errRefused when it was used.
	use(ctx context.Context, client, id string, expires time.Time) error
	// token reads an opaque token.
	token(ctx context.Context, raw string) (claims, error)
}

const (
	rotateStatement = `UPDATE ceiling_families SET generation = generation + 1, rotated_at = $1
		WHERE id = $2 AND generation = $3 RETURNING user_id, scope`
	useStatement   = `INSERT INTO ceiling_assertions (client_id, id, expires_at) VALUES ($1, $2, $3) ON CONFLICT (client_id, id) DO NOTHING`
	tokenStatement = `SELECT client_id, scope, expires_at FROM ceiling_tokens WHERE hash = $1`
)

// tables are the same on both but for the word for bytes.
const tables = `
CREATE TABLE ceiling_families (
	id %[1]s PRIMARY KEY, generation BIGINT NOT NULL, client_id TEXT NOT NULL, user_id TEXT NOT NULL, scope TEXT NOT NULL, rotated_at BIGINT NOT NULL
);
CREATE TABLE ceiling_assertions (client_id TEXT, id TEXT, expires_at BIGINT NOT NULL, PRIMARY KEY (client_id, id));
CREATE TABLE ceiling_tokens (hash %[1]s PRIMARY KEY, client_id TEXT NOT NULL, scope TEXT NOT NULL, expires_at BIGINT NOT NULL)`

func openStore(ctx context.Context, c config) (store, error) {
	switch {
	case c.PostgreSQL != "":
		return openPostgreSQL(ctx, c)
	case c.SQLite != "":
		return openSQLite(ctx, c)
	}
	return nil, nil
}

// fill makes the refresh tokens, and an opaque token of each client: "opaque " and its
// id. How the ids of families come about, the benchmark knows too.
func fill(c config, exec func(statement string, arguments ...any) error) error {
	for n := range c.Families {
		id := sha256.Sum256(fmt.Appendf(nil, "family %d", n))
		client := c.Clients[n%len(c.Clients)].ID
		if err := exec(`INSERT INTO ceiling_families VALUES ($1, 1, $2, $3, $4, 0)`, id[:idBytes], client, fmt.Sprintf("user-%d", n), c.Scope); err != nil {
			return err
		}
	}
	for _, client := range c.Clients {
		hash := sha256.Sum256([]byte("opaque " + client.ID))
		if err := exec(`INSERT INTO ceiling_tokens VALUES ($1, $2, $3, $4)`, hash[:], client.ID, client.Scope, time.Now().Add(24*time.Hour).Unix()); err != nil {
			return err
		}
	}
	return nil
}

type postgresql struct{ pool *pgxpool.Pool }

// connections are as many as the token server has at most.
const connections = 20

func openPostgreSQL(ctx context.Context, c config) (store, error) {
	options, err := pgxpool.ParseConfig(c.PostgreSQL)
	if err != nil {
		return nil, err
	}
	options.MaxConns, options.MinConns = connections, connections
	pool, err := pgxpool.NewWithConfig(ctx, options)
	if err != nil {
		return nil, err
	}
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		for statement := range strings.SplitSeq(fmt.Sprintf(tables, "BYTEA"), ";") {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return fill(c, func(statement string, arguments ...any) error {
			_, err := tx.Exec(ctx, statement, arguments...)
			return err
		})
	})
	return postgresql{pool}, err
}

func (p postgresql) rotate(ctx context.Context, family []byte, generation int64, now time.Time) (user, scope string, err error) {
	err = p.pool.QueryRow(ctx, rotateStatement, now.UnixMicro(), family, generation).Scan(&user, &scope)
	if errors.Is(err, pgx.ErrNoRows) {
		err = errRefused
	}
	return user, scope, err
}

func (p postgresql) use(ctx context.Context, client, id string, expires time.Time) error {
	tag, err := p.pool.Exec(ctx, useStatement, client, id, expires.UnixMicro())
	if err == nil && tag.RowsAffected() == 0 {
		return errRefused
	}
	return err
}

func (p postgresql) token(ctx context.Context, raw string) (c claims, err error) {
	hash := sha256.Sum256([]byte(raw))
	err = p.pool.QueryRow(ctx, tokenStatement, hash[:]).Scan(&c.ClientID, &c.Scope, &c.Expires)
	return c, err
}

// sqlite has prepared statements: one connection writes, some read.
type sqlite struct{ rotation, insertion, selection *sql.Stmt }

func openSQLite(ctx context.Context, c config) (store, error) {
	open := func(connections int) (*sql.DB, error) {
		db, err := sql.Open("sqlite", "file:"+c.SQLite+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
		if err == nil {
			db.SetMaxOpenConns(connections)
			db.SetMaxIdleConns(connections)
		}
		return db, err
	}
	write, err := open(1)
	if err != nil {
		return nil, err
	}
	read, err := open(4)
	if err != nil {
		return nil, err
	}
	tx, err := write.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	exec := func(statement string, arguments ...any) error {
		_, err := tx.ExecContext(ctx, statement, arguments...)
		return err
	}
	if err := errors.Join(exec(fmt.Sprintf(tables, "BLOB")), fill(c, exec), tx.Commit()); err != nil {
		return nil, err
	}
	var s sqlite
	var rotation, use, token error
	s.rotation, rotation = write.PrepareContext(ctx, rotateStatement)
	s.insertion, use = write.PrepareContext(ctx, useStatement)
	s.selection, token = read.PrepareContext(ctx, tokenStatement)
	return &s, errors.Join(rotation, use, token)
}

func (s *sqlite) rotate(ctx context.Context, family []byte, generation int64, now time.Time) (user, scope string, err error) {
	err = s.rotation.QueryRowContext(ctx, now.UnixMicro(), family, generation).Scan(&user, &scope)
	if errors.Is(err, sql.ErrNoRows) {
		err = errRefused
	}
	return user, scope, err
}

func (s *sqlite) use(ctx context.Context, client, id string, expires time.Time) error {
	result, err := s.insertion.ExecContext(ctx, client, id, expires.UnixMicro())
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return errors.Join(errRefused, err)
	}
	return nil
}

func (s *sqlite) token(ctx context.Context, raw string) (c claims, err error) {
	hash := sha256.Sum256([]byte(raw))
	err = s.selection.QueryRowContext(ctx, hash[:]).Scan(&c.ClientID, &c.Scope, &c.Expires)
	return c, err
}
