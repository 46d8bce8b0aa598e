// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync"
	"time"
)

// maxGroup bounds how many changes share a transaction, and so how long the first of
// them waits for the others.
const maxGroup = 64

// change is a write that waits for its turn on the only writer, for an engine whose
// commits cost far more than what they commit. Changes that wait at the same time
// share one commit, each in a savepoint of its own.
type change struct {
	// ctx is the caller's. It ends only the waiting: a statement that were
	// interrupted would undo the changes of the others too.
	ctx context.Context //nolint:containedctx // that of one call
	// do may run twice.
	do func(q querier) error
	// single tells that do is one statement and needs no transaction.
	single bool

	// joined is when it began to wait for a turn that another had; zero: it did not.
	joined   time.Time
	done     chan struct{}
	err      error
	panicked any
}

func (c *change) finish(err error) {
	c.err = err
	close(c.done)
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

var errPanicked = errors.New("a change panicked")

// queue holds the changes that wait.
type queue struct {
	// turn is held by the caller who carries out the changes of all that wait.
	turn chan struct{}

	mu      sync.Mutex
	waiting []*change
	// waits is how many had to wait for another's turn to end, and waited how long in
	// all.
	waits  int64
	waited time.Duration
}

func (q *queue) join(c *change) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.turn) > 0 {
		c.joined = time.Now()
		q.waits++
	}
	q.waiting = append(q.waiting, c)
}

// leave tells whether c still waited.
func (q *queue) leave(c *change) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := slices.Index(q.waiting, c)
	if at >= 0 {
		q.waiting = slices.Delete(q.waiting, at, at+1)
	}
	return at >= 0
}

// stats tells how many waited, and how long in all.
func (q *queue) stats() (waits int64, waited time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waits, q.waited
}

func (q *queue) take() []*change {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.waiting), maxGroup)
	group := slices.Clone(q.waiting[:n])
	q.waiting = slices.Delete(q.waiting, 0, n)
	for _, c := range group {
		if !c.joined.IsZero() {
			q.waited += time.Since(c.joined)
		}
	}
	return group
}

// inTurn carries c out, alone or with others, by whoever has the turn, and returns
// once it is committed or has failed.
func (s *Store) inTurn(c *change) error {
	c.done = make(chan struct{})
	s.queue.join(c)
	for {
		select {
		case <-c.done:
			if c.panicked != nil {
				panic(c.panicked)
			}
			return c.err
		case s.queue.turn <- struct{}{}:
			s.carryOut(s.queue.take())
		case <-c.ctx.Done():
			if s.queue.leave(c) {
				return s.classify("waiting for the writer", c.ctx.Err())
			}
			<-c.done // it is being carried out, or was
		}
	}
}

func (s *Store) carryOut(group []*change) {
	defer func() { <-s.queue.turn }()
	group = slices.DeleteFunc(group, func(c *change) bool {
		gone := c.ctx.Err() != nil
		if gone {
			c.finish(s.classify("waiting for the writer", c.ctx.Err()))
		}
		return gone
	})
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
			group = slices.Delete(group, undoneBy, undoneBy+1)
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
