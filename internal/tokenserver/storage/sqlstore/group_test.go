// SPDX-License-Identifier: Apache-2.0

package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlstore"
	"connectedapps.dev/operator/internal/tokenserver/storage/storagetest"
)

func openSQLite(t testing.TB) *sqlstore.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "db"), storagetest.Epoch)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// busy keeps the only writer busy until the returned function is called.
func busy(t *testing.T, s *sqlstore.Store) (goOn func()) {
	t.Helper()
	_, err := s.CreateApp(t.Context(), storagetest.App(1))
	require.NoError(t, err)
	begun, end := make(chan struct{}), make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		_, err := s.UpdateApp(t.Context(), storagetest.App(1).ClientID, storagetest.Epoch, func(*storage.App) error {
			close(begun)
			<-end
			return nil
		})
		assert.NoError(t, err)
	})
	<-begun
	return func() { close(end); writer.Wait() }
}

func wait(t *testing.T, s *sqlstore.Store, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return s.Waiting() == n }, 10*time.Second, time.Millisecond)
}

// whileWriting starts changes while the only writer is busy, and lets it go on once
// all of them wait. It returns what they did.
func whileWriting(t *testing.T, s *sqlstore.Store, changes ...func() error) []error {
	t.Helper()
	goOn := busy(t, s)
	results := make([]error, len(changes))
	var all sync.WaitGroup
	for i, change := range changes {
		all.Go(func() { results[i] = change() })
		wait(t, s, i+1)
	}
	goOn()
	all.Wait()
	return results
}

func opaque(n int, clientID string) storage.OpaqueToken {
	return storage.OpaqueToken{Hash: []byte{byte(n)}, ClientID: clientID, Document: "{}", ExpiresAt: storagetest.Epoch}
}

func TestChangesThatWaitShareACommit(t *testing.T) {
	s := openSQLite(t)
	var commits atomic.Int64
	var changes []func() error
	const many = 20
	for n := range many {
		changes = append(changes, func() error { return s.CreateOpaqueToken(t.Context(), opaque(n, storagetest.App(1).ClientID)) })
	}
	s.Measure(func(operation string, _ time.Duration, err error) {
		if operation == "commit" && err == nil {
			commits.Add(1)
		}
	})
	for _, err := range whileWriting(t, s, changes...) {
		require.NoError(t, err)
	}
	require.EqualValues(t, 3, commits.Load(), "of the app, of the change that was waited for, and of all that waited")
	for n := range many {
		_, err := s.OpaqueToken(t.Context(), opaque(n, "").Hash)
		require.NoError(t, err)
	}
}

func TestAChangeThatFailsFailsAlone(t *testing.T) {
	s := openSQLite(t)
	mine := storagetest.App(1).ClientID
	until := storagetest.Epoch.Add(time.Hour)
	results := whileWriting(t, s,
		func() error { return s.CreateOpaqueToken(t.Context(), opaque(1, mine)) },
		func() error { return s.CreateOpaqueToken(t.Context(), opaque(2, "nobody")) },
		func() error { return s.UseAssertion(t.Context(), mine, "jti", until) },
		func() error { return s.UseAssertion(t.Context(), mine, "jti", until.Add(1*time.Second)) },
		func() error { // has written before it fails
			app := storagetest.App(2)
			app.ExternalID = storagetest.App(1).ExternalID
			_, err := s.CreateApp(t.Context(), app)
			return err
		},
		func() error { return s.CreateOpaqueToken(t.Context(), opaque(3, mine)) },
	)
	for i, want := range []error{nil, storage.ErrNotFound, nil, storage.ErrAlreadyExists, storage.ErrAlreadyExists, nil} {
		require.ErrorIs(t, results[i], want, "%d", i)
	}
	for n, want := range map[int]error{1: nil, 2: storage.ErrNotFound, 3: nil} {
		_, err := s.OpaqueToken(t.Context(), opaque(n, "").Hash)
		require.ErrorIs(t, err, want)
	}
	changes, err := s.Changes(t.Context(), 0)
	require.NoError(t, err)
	require.Len(t, changes, 1, "nothing is left of what failed")
}

func TestACallerWhoGivesUpWaitingHasChangedNothing(t *testing.T) {
	s := openSQLite(t)
	goOn := busy(t, s)
	ctx, giveUp := context.WithCancel(t.Context())
	result := make(chan error)
	go func() { result <- s.CreateOpaqueToken(ctx, opaque(1, storagetest.App(1).ClientID)) }()
	wait(t, s, 1)
	giveUp()
	err := <-result
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, storage.ErrUnavailable)
	require.Zero(t, s.Waiting())
	goOn()
	_, err = s.OpaqueToken(t.Context(), opaque(1, "").Hash)
	require.ErrorIs(t, err, storage.ErrNotFound)
}

func TestAPanicIsItsCallers(t *testing.T) {
	s := openSQLite(t)
	mine := storagetest.App(1).ClientID
	results := whileWriting(t, s,
		func() error { return s.CreateOpaqueToken(t.Context(), opaque(1, mine)) },
		func() (err error) {
			defer func() { err = fmt.Errorf("panicked: %v", recover()) }()
			_, err = s.UpdateApp(t.Context(), mine, storagetest.Epoch, func(*storage.App) error { panic("mine") })
			return err
		},
		func() error { return s.CreateOpaqueToken(t.Context(), opaque(2, mine)) },
	)
	require.NoError(t, results[0])
	require.EqualError(t, results[1], "panicked: mine")
	require.NoError(t, results[2])
	require.NoError(t, s.CreateOpaqueToken(t.Context(), opaque(3, mine)), "the writer goes on")
}

// scripted is a database that takes everything but what fail says.
type scripted struct {
	silent
	fail func(query string) error

	mu  sync.Mutex
	log []string
}

func (s *scripted) did(what string) error {
	s.mu.Lock()
	s.log = append(s.log, what)
	s.mu.Unlock()
	return s.fail(what)
}

func (s *scripted) Connect(context.Context) (driver.Conn, error) { return s, nil }
func (s *scripted) Commit() error                                { return s.did("COMMIT") }
func (s *scripted) Rollback() error                              { return nil }

func (s *scripted) BeginTx(context.Context, driver.TxOptions) (driver.Tx, error) {
	return s, s.did("BEGIN")
}

func (s *scripted) ExecContext(_ context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if len(args) == 0 {
		return driver.RowsAffected(0), s.did(query)
	}
	return driver.RowsAffected(1), s.did(fmt.Sprint(args[0].Value))
}

// grouped carries out the deletion of sessions named so while another change, which
// is called first, holds the writer.
func grouped(t *testing.T, database *scripted, sessions ...string) []error {
	t.Helper()
	held, goOn := make(chan struct{}), make(chan struct{})
	fail := database.fail
	database.fail = func(what string) error {
		if what == "first" {
			close(held)
			<-goOn
		}
		return fail(what)
	}
	pool := sql.OpenDB(database)
	s := sqlstore.New(pool, pool, sqlstore.Dialect{Group: true}, nil)
	defer func() { require.NoError(t, s.Close()) }()
	results := make([]error, len(sessions))
	var all sync.WaitGroup
	all.Go(func() { assert.NoError(t, s.DeleteSession(t.Context(), "first")) })
	<-held
	for i, session := range sessions {
		all.Go(func() { results[i] = s.DeleteSession(t.Context(), session) })
		require.Eventually(t, func() bool { return s.Waiting() == i+1 }, 10*time.Second, time.Millisecond)
	}
	close(goOn)
	all.Wait()
	return results
}

func TestACommitThatFailsFailsAll(t *testing.T) {
	full := errors.New("disk full")
	database := &scripted{fail: func(what string) error {
		if what == "COMMIT" {
			return full
		}
		return nil
	}}
	for _, err := range grouped(t, database, "a", "b", "c") {
		require.ErrorIs(t, err, full)
		require.ErrorIs(t, err, storage.ErrUnavailable)
	}
	require.Equal(t, "COMMIT", database.log[len(database.log)-1], "none is done again")
}

func TestAChangeThatUndoesTheTransactionOfOthersFailsAlone(t *testing.T) {
	full := errors.New("disk full")
	database := &scripted{fail: func(what string) error {
		if what == "b" || strings.HasPrefix(what, "ROLLBACK TO") {
			return full
		}
		return nil
	}}
	results := grouped(t, database, "a", "b", "c")
	require.NoError(t, results[0])
	require.ErrorIs(t, results[1], full)
	require.NoError(t, results[2])
	require.Equal(t, []string{"a", "c"}, database.log[len(database.log)-2:], "the others once more, each alone")
}
