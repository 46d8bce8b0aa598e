// SPDX-License-Identifier: Apache-2.0

package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlstore"
)

// silent is a database that answers nothing: every call lasts until its context
// ends. It takes transactions when begins is set, and answers queries with one row
// that never comes when rows is.
type silent struct {
	begins, rows bool

	mu        sync.Mutex
	calls     int
	unbounded int
}

func (s *silent) wait(ctx context.Context) error {
	s.note(ctx)
	<-ctx.Done()
	return ctx.Err()
}

func (s *silent) note(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if _, ok := ctx.Deadline(); !ok {
		s.unbounded++
	}
}

func (s *silent) Connect(context.Context) (driver.Conn, error) { return s, nil }
func (s *silent) Driver() driver.Driver                        { return nil }
func (s *silent) Prepare(string) (driver.Stmt, error) {
	return nil, errors.New("not without a context")
}
func (s *silent) Begin() (driver.Tx, error) { return nil, errors.New("not without a context") }
func (s *silent) Close() error              { return nil }

func (s *silent) BeginTx(ctx context.Context, _ driver.TxOptions) (driver.Tx, error) {
	if s.begins {
		s.note(ctx)
		return nothing{}, nil
	}
	return nil, s.wait(ctx)
}

func (s *silent) ExecContext(ctx context.Context, _ string, _ []driver.NamedValue) (driver.Result, error) {
	return nil, s.wait(ctx)
}

func (s *silent) QueryContext(ctx context.Context, _ string, _ []driver.NamedValue) (driver.Rows, error) {
	if s.rows {
		s.note(ctx)
		return pendingRows{ctx}, nil
	}
	return nil, s.wait(ctx)
}

type nothing struct{}

func (nothing) Commit() error   { return nil }
func (nothing) Rollback() error { return nil }

// pendingRows are announced and never come.
type pendingRows struct{ ctx context.Context }

func (pendingRows) Columns() []string { return []string{"a"} }
func (pendingRows) Close() error      { return nil }
func (r pendingRows) Next([]driver.Value) error {
	<-r.ctx.Done()
	return errors.Join(r.ctx.Err(), io.ErrUnexpectedEOF)
}

// arguments makes a call's, of which no text is empty and no list either.
func arguments(ctx context.Context, method reflect.Type) []reflect.Value {
	args := []reflect.Value{}
	for i := range method.NumIn() {
		in := method.In(i)
		switch {
		case in == reflect.TypeFor[context.Context]():
			args = append(args, reflect.ValueOf(ctx))
		case in.Kind() == reflect.String:
			args = append(args, reflect.ValueOf("a").Convert(in))
		case in.Kind() == reflect.Slice:
			args = append(args, reflect.MakeSlice(in, 1, 1))
		case in.Kind() == reflect.Map:
			m := reflect.MakeMap(in)
			m.SetMapIndex(reflect.Zero(in.Key()), reflect.Zero(in.Elem()))
			args = append(args, m)
		case in == reflect.TypeFor[storage.User]():
			args = append(args, reflect.ValueOf(storage.User{Username: "a name that may be one"}))
		default:
			args = append(args, reflect.Zero(in))
		}
	}
	return args
}

func TestNoStatementIsWithoutADeadline(t *testing.T) {
	for name, database := range map[string]*silent{
		"no transaction begins":   {},
		"no statement is done":    {begins: true},
		"no row of a query comes": {begins: true, rows: true},
	} {
		for method := range reflect.TypeFor[storage.Storage]().Methods() {
			if slices.Contains([]string{"Close", "Measure", "Clock", "Pools"}, method.Name) { // no statements
				continue
			}
			t.Run(name+" for "+method.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					callSilent(t, &silent{begins: database.begins, rows: database.rows}, method.Name, false)
				})
			})
			t.Run(name+" for "+method.Name+", shared", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					callSilent(t, &silent{begins: database.begins, rows: database.rows}, method.Name, true)
				})
			})
		}
	}
}

// callSilent calls a method with a context that has no deadline.
func callSilent(t *testing.T, database *silent, method string, share bool) {
	pool := sql.OpenDB(database)
	store := sqlstore.New(pool, pool, sqlstore.Dialect{Size: `SELECT 1`, Writers: `SELECT 1`, Share: share}, nil)
	defer func() { require.NoError(t, store.Close()) }()
	begin := time.Now()
	call := reflect.ValueOf(store).MethodByName(method)
	results := call.Call(arguments(context.Background(), call.Type()))
	err, _ := results[len(results)-1].Interface().(error)
	require.ErrorIs(t, err, storage.ErrUnavailable)
	assert.Positive(t, database.calls)
	assert.Zero(t, database.unbounded, "calls without a deadline")
	assert.LessOrEqual(t, time.Since(begin), 10*time.Second)
}

func TestACallerWhoGivesUpHasMetNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := sql.OpenDB(&silent{begins: true})
		store := sqlstore.New(pool, pool, sqlstore.Dialect{}, nil)
		defer func() { require.NoError(t, store.Close()) }()
		ctx, giveUp := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, giveUp)
		_, err := store.App(ctx, "id")
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, storage.ErrUnavailable)
	})
}
