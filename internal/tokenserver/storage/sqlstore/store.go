// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

var _ storage.Storage = (*Store)(nil)

// ErrRolledBack is storage.ErrRolledBack.
var ErrRolledBack = storage.ErrRolledBack

// Dialect is what differs between the engines.
type Dialect struct {
	// System is what OpenTelemetry calls the engine (db.system.name).
	System string
	// Strict, Identity, BigInt, Text and Blob are words of the schema: SQLite's
	// STRICT tables do not know BIGINT. Text is ordered by its bytes.
	Strict, Identity, BigInt, Text, Blob string
	// Heap takes the lines of the schema about how rows lie in a heap.
	Heap bool
	// LockSchema begins a migration and lets no other; empty where a write
	// transaction already excludes every other.
	LockSchema string
	// TryCollect is a query that tells whether the transaction may collect garbage,
	// and lets no other; empty: it may.
	TryCollect string
	// Writers is a query for the names of the transactions that write to the change
	// feed; empty where entries are committed in the order of their ids.
	Writers string
	// Snapshot is the isolation in which every statement of a read transaction sees
	// the same.
	Snapshot sql.IsolationLevel
	// ForUpdate locks the rows of a SELECT; empty where a write transaction
	// already excludes every other.
	ForUpdate string
	// Members is a query for the members of a JSON object of integers, its only
	// argument, as the columns id and at.
	Members string
	// Group lets changes that wait for the only writer share one commit.
	Group bool
	// Share lets callers who wait at the same time share one statement, of which the
	// engine takes arrays; it is for an engine to which each statement is a round trip.
	Share bool
	// Undone tells of an error that nothing of its statement was kept.
	Undone func(error) bool
	// Rebind turns ? placeholders into the engine's; nil leaves them.
	Rebind func(query string) string
	// Size is a query for the size of the database in bytes.
	Size string
	// Catalog is for copies of a database.
	Catalog Catalog
	// Classify wraps an engine's error in a sentinel of package storage, or in
	// ErrRolledBack, where one fits; nil leaves it.
	Classify func(error) error
}

// Store implements storage.Storage.
type Store struct {
	read, write *sql.DB
	dialect     Dialect
	writes      queue[*change]
	shared      statements
	own         own
	close       func() error
	observe     atomic.Pointer[func(operation string, took time.Duration, err error)]
	clock       atomic.Pointer[func() time.Time]
	// installation is the id of the database as it was read first.
	installation atomic.Pointer[string]
}

// New makes a Store that reads from one pool and writes through the other; both
// may be the same. close is called once the pools are closed; it may be nil.
func New(read, write *sql.DB, dialect Dialect, closeFn func() error) *Store {
	s := &Store{read: read, write: write, dialect: dialect, close: closeFn}
	s.writes = queue[*change]{lanes: 1, carryOut: s.carryOut}
	s.shared = s.newStatements()
	return s
}

// Clock implements storage.Storage.
func (s *Store) Clock(now func() time.Time) { s.clock.Store(&now) }

func (s *Store) now() time.Time {
	if now := s.clock.Load(); now != nil {
		return (*now)()
	}
	return time.Now()
}

// Ping tells whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	_, err := s.InstallationID(ctx)
	return err
}

// Close closes both pools.
func (s *Store) Close() error {
	errs := []error{s.read.Close()}
	if s.write != s.read {
		errs = append(errs, s.write.Close())
	}
	if s.close != nil {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}

// querier is a pool or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// maxStatement caps every statement and every write transaction: whoever waits
// learns that the database does not answer.
const maxStatement = 10 * time.Second

// maxAttempts bounds how often a transaction is done again. All its attempts share
// maxStatement.
const maxAttempts = 10

// inTx runs do in one write transaction and commits when it returns nil. Where the
// engine has undone the transaction, do runs again: it must not build on what it
// left in variables before.
func (s *Store) inTx(ctx context.Context, do func(tx *sql.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, maxStatement)
	defer cancel()
	for attempt := 1; ; attempt++ {
		err := s.tryTx(ctx, do)
		if !errors.Is(err, ErrRolledBack) || attempt == maxAttempts {
			return err
		}
	}
}

func (s *Store) tryTx(ctx context.Context, do func(tx *sql.Tx) error) error {
	if !s.dialect.Group {
		return s.doTx(ctx, do)
	}
	return s.inTurn(&change{call: call{ctx: ctx}, do: func(q querier) error { return do(q.(*sql.Tx)) }}) //nolint:forcetypeassert // not a single statement
}

// single runs do, which is one statement that changes something: a transaction of
// its own.
func (s *Store) single(ctx context.Context, do func(q querier) error) error {
	if !s.dialect.Group {
		return do(s.write)
	}
	ctx, cancel := context.WithTimeout(ctx, maxStatement)
	defer cancel()
	return s.inTurn(&change{call: call{ctx: ctx}, do: do, single: true})
}

// singleExec is single for a statement that returns no rows.
func (s *Store) singleExec(ctx context.Context, query string, args ...any) (affected int64, err error) {
	err = s.single(ctx, func(q querier) (err error) {
		affected, err = s.exec(ctx, q, query, args...)
		return err
	})
	return affected, err
}

func (s *Store) doTx(ctx context.Context, do func(tx *sql.Tx) error) error {
	tx, err := s.begin(ctx, s.write, nil, "begin write")
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	committed := false
	if !s.dialect.Group {
		s.own.begin(tx)
		defer func() { s.own.end(tx, committed) }()
	}
	if err := do(tx); err != nil {
		return err
	}
	err = s.commit(ctx, tx)
	committed = err == nil
	return err
}

func (s *Store) begin(ctx context.Context, db *sql.DB, options *sql.TxOptions, operation string) (tx *sql.Tx, err error) {
	defer s.measure(ctx, operation, time.Now(), &err)
	if tx, err = db.BeginTx(ctx, options); err != nil {
		return nil, s.classify("beginning a transaction", err)
	}
	return tx, nil
}

func (s *Store) commit(ctx context.Context, tx *sql.Tx) (err error) {
	defer s.measure(ctx, "commit", time.Now(), &err)
	if err = tx.Commit(); err != nil {
		return s.classify("committing", err)
	}
	return nil
}

// inReadTx runs do on one snapshot of the database.
func (s *Store) inReadTx(ctx context.Context, do func(tx *sql.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, maxStatement)
	defer cancel()
	tx, err := s.begin(ctx, s.read, &sql.TxOptions{ReadOnly: true, Isolation: s.dialect.Snapshot}, "begin read")
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	return do(tx)
}

func (s *Store) sql(query string) string {
	if s.dialect.Rebind == nil {
		return query
	}
	return s.dialect.Rebind(query)
}

// within is the time that a statement has. In a transaction that may be shared, its
// caller's end does not interrupt it.
func (s *Store) within(ctx context.Context, q querier) (context.Context, context.CancelFunc) {
	if _, shared := q.(*sql.Tx); shared && s.dialect.Group {
		ctx = context.WithoutCancel(ctx)
	}
	return context.WithTimeout(ctx, maxStatement)
}

func (s *Store) exec(ctx context.Context, q querier, query string, args ...any) (affected int64, err error) {
	if err := checkArguments(args); err != nil {
		return 0, err
	}
	defer s.measure(ctx, operationOf(query), time.Now(), &err)
	ctx, cancel := s.within(ctx, q)
	defer cancel()
	err = again(q, func() error {
		result, err := q.ExecContext(ctx, s.sql(query), args...)
		if err == nil {
			affected, err = result.RowsAffected()
		}
		if err != nil {
			return s.classify("writing", err)
		}
		return nil
	})
	return affected, err
}

// again does a statement again that the engine has undone, unless it is part of a
// transaction: that is done again as a whole.
func again(q querier, do func() error) error {
	_, alone := q.(*sql.DB)
	for attempt := 1; ; attempt++ {
		err := do()
		if !alone || !errors.Is(err, ErrRolledBack) || attempt == maxAttempts {
			return err
		}
	}
}

// queryRow scans the only row into dest; storage.ErrNotFound when there is none.
func (s *Store) queryRow(ctx context.Context, q querier, dest []any, query string, args ...any) (err error) {
	if err := checkArguments(args); err != nil {
		return unstored(query, err)
	}
	defer s.measure(ctx, operationOf(query), time.Now(), &err)
	ctx, cancel := s.within(ctx, q)
	defer cancel()
	return again(q, func() error {
		err := q.QueryRowContext(ctx, s.sql(query), args...).Scan(dest...)
		if errors.Is(err, sql.ErrNoRows) {
			return storage.ErrNotFound
		}
		if err != nil {
			return s.classify("reading", err)
		}
		return nil
	})
}

// queryRows calls scan for every row.
func (s *Store) queryRows(ctx context.Context, q querier, scan func(*sql.Rows) error, query string, args ...any) error {
	return s.queryRowsAs(ctx, q, operationOf(query), scan, query, args...)
}

// queryRowsAs is queryRows for a query whose text does not begin with what it does.
func (s *Store) queryRowsAs(
	ctx context.Context, q querier, operation string, scan func(*sql.Rows) error, query string, args ...any,
) (err error) {
	if err := checkArguments(args); err != nil {
		if errors.Is(unstored(query, err), storage.ErrNotFound) {
			return nil
		}
		return err
	}
	defer s.measure(ctx, operation, time.Now(), &err)
	ctx, cancel := s.within(ctx, q)
	defer cancel()
	rows, err := q.QueryContext(ctx, s.sql(query), args...)
	if err != nil {
		return s.classify("reading", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			// The deadline closes rows while they are read.
			if ctx.Err() != nil {
				return s.classify("reading a row", errors.Join(ctx.Err(), err))
			}
			return fmt.Errorf("reading a row: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return s.classify("reading", err)
	}
	return nil
}

// checkArguments refuses texts that one of the engines would.
func checkArguments(args []any) error {
	for _, arg := range args {
		if text, ok := arg.(string); ok {
			if err := checkText(text); err != nil {
				return err
			}
		}
	}
	return nil
}

// unstored is what a query with a text that no engine stores comes to: nothing can
// be found by it, and nothing made of it.
func unstored(query string, err error) error {
	if strings.HasPrefix(query, "INSERT") {
		return err
	}
	return storage.ErrNotFound
}

// classify is the one place that tells what an error of the engine means. What is
// no answer to the question is storage.ErrUnavailable: a deadline, a broken
// connection, a full disk. A caller who gave up itself has not met one.
func (s *Store) classify(doing string, err error) error {
	known := err
	if s.dialect.Classify != nil {
		known = s.dialect.Classify(err)
	}
	answered := errors.Is(known, storage.ErrAlreadyExists) || errors.Is(known, storage.ErrNotFound) || errors.Is(known, storage.ErrInvalidText)
	if !answered && !errors.Is(err, context.Canceled) {
		known = fmt.Errorf("%w: %w", storage.ErrUnavailable, known)
	}
	return fmt.Errorf("%s: %w", doing, known)
}

// micros is how a time is stored.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}
