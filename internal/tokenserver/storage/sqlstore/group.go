// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"slices"
)

// change is a write that waits for its turn on the only writer, for an engine whose
// commits cost far more than what they commit. Changes that wait at the same time
// share one commit, each in a savepoint of its own.
type change struct {
	call
	// do may run twice.
	do func(q querier) error
	// single tells that do is one statement and needs no transaction.
	single bool
}

// try runs do. Its panic is the caller's.
func (c *change) try(q querier) (err error) {
	defer func() {
		if c.panicked = recover(); c.panicked != nil {
			err = errPanicked
		}
	}()
	return c.do(q)
}

// inTurn has c carried out, alone or with others, and returns once it is committed or
// has failed.
func (s *Store) inTurn(c *change) error {
	return s.waited(c.ctx, s.writes.do(c))
}

// waited is the error of a call that has been in a queue: what its caller gave up is
// classified like the rest.
func (s *Store) waited(ctx context.Context, err error) error {
	if err != nil && err == ctx.Err() { //nolint:errorlint // of the waiting alone
		return s.classify("waiting for a turn", err)
	}
	return err
}

func (s *Store) carryOut(group []*change) {
	if len(group) > 1 {
		group = s.together(group)
	}
	for _, c := range group {
		c.finish(s.alone(c))
	}
}

func (s *Store) alone(c *change) error {
	if c.single {
		return c.try(s.write)
	}
	return s.doTx(c.ctx, func(tx *sql.Tx) error { return c.try(tx) })
}

// errUndone says that the engine has undone a transaction that changes shared.
var errUndone = errors.New("a shared transaction was undone")

// together carries changes out in one transaction. It returns those that have to be
// done alone, because the engine has undone all of it for one among them.
func (s *Store) together(group []*change) (alone []*change) {
	ctx, cancel := context.WithTimeout(context.Background(), maxStatement)
	defer cancel()
	results := make([]error, len(group))
	undoneBy := 0
	err := s.doTx(ctx, func(tx *sql.Tx) error {
		for i, c := range group {
			var intact bool
			if results[i], intact = inSavepoint(ctx, tx, c); !intact {
				undoneBy = i
				return errUndone
			}
		}
		return nil
	})
	if errors.Is(err, errUndone) {
		if failed := results[undoneBy]; failed != nil {
			group[undoneBy].finish(failed)
			group = slices.Delete(slices.Clone(group), undoneBy, undoneBy+1)
		}
		return group
	}
	// Nobody is answered before the commit: what failed may have failed for what
	// another one did.
	for i, c := range group {
		if err != nil {
			results[i] = err
		}
		c.finish(results[i])
	}
	return nil
}

// inSavepoint runs one change and returns its error; what it did is undone then. The
// transaction is intact unless the engine has undone all of it.
func inSavepoint(ctx context.Context, tx *sql.Tx, c *change) (failed error, intact bool) { //nolint:revive // failed is a result
	if _, err := tx.ExecContext(ctx, "SAVEPOINT one_change"); err != nil {
		return nil, false //nolint:nilerr // the change itself has not failed
	}
	end := "RELEASE one_change"
	if failed = c.try(tx); failed != nil {
		end = "ROLLBACK TO one_change; RELEASE one_change"
	}
	_, err := tx.ExecContext(ctx, end)
	return failed, err == nil
}
