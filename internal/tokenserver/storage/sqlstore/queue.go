// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// maxGroup bounds how many calls are carried out together, and so how long the first
// of them waits for the others.
const maxGroup = 64

// call is one that waits in a queue.
type call struct {
	// ctx is the caller's. It ends only the waiting: what is done for several cannot be
	// interrupted for one of them.
	ctx context.Context //nolint:containedctx // that of one call

	// joined is when it began to wait for the end of others; zero: it did not.
	joined   time.Time
	done     chan struct{}
	err      error
	panicked any
}

func (c *call) state() *call { return c }

func (c *call) finish(err error) {
	c.err = err
	close(c.done)
}

var errPanicked = errors.New("it panicked while it was carried out")

// queue lets calls that wait at the same time be carried out together: nobody waits
// for company, and what comes while the lanes are taken goes together next.
type queue[C interface {
	comparable
	state() *call
}] struct {
	// lanes is how many groups may be under way.
	lanes int
	// patience is after how long a group's lane is for others though it is not over;
	// zero: never.
	patience time.Duration
	// carryOut finishes every call of a group.
	carryOut func(group []C)

	mu      sync.Mutex
	waiting []C
	taken   int
	// waits is how many had to wait for others to end, and waited how long in all.
	waits  int64
	waited time.Duration
}

// join tells whether there is a lane for the caller, who carries out what waits.
func (q *queue[C]) join(c C) (leads bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, c)
	if q.taken < q.lanes {
		q.taken++
		return true
	}
	c.state().joined = time.Now()
	q.waits++
	return false
}

// leave tells whether c still waited.
func (q *queue[C]) leave(c C) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := slices.Index(q.waiting, c)
	if at >= 0 {
		q.waiting = slices.Delete(q.waiting, at, at+1)
	}
	return at >= 0
}

// stats tells how many waited, and how long in all.
func (q *queue[C]) stats() (waits int64, waited time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waits, q.waited
}

// take returns those that go next; none: the lane is free.
func (q *queue[C]) take() []C {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.waiting), maxGroup)
	if n == 0 {
		q.taken--
	}
	group := slices.Clone(q.waiting[:n])
	q.waiting = slices.Delete(q.waiting, 0, n)
	for _, c := range group {
		if joined := c.state().joined; !joined.IsZero() {
			q.waited += time.Since(joined)
		}
	}
	return group
}

// do has c carried out, alone or with others, and returns once it has been. The error
// is the context's when c was given up before.
func (q *queue[C]) do(c C) error {
	state := c.state()
	state.done = make(chan struct{})
	if q.join(c) && q.next() {
		go q.run() // for those who came meanwhile
	}
	select {
	case <-state.done:
	case <-state.ctx.Done():
		if q.leave(c) {
			return state.ctx.Err()
		}
		<-state.done // it is being carried out, or was
	}
	if state.panicked != nil {
		panic(state.panicked)
	}
	return state.err
}

// run carries out, in one lane, what waits.
func (q *queue[C]) run() {
	for q.next() {
	}
}

// next carries out those that go next and tells whether more wait for the lane.
func (q *queue[C]) next() bool {
	group := q.take()
	return len(group) > 0 && q.inTime(group) && !q.free()
}

// free gives the lane back when nobody waits for it.
func (q *queue[C]) free() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) > 0 {
		return false
	}
	q.taken--
	return true
}

// inTime tells whether the lane is still the group's at its end.
func (q *queue[C]) inTime(group []C) bool {
	if q.patience == 0 {
		q.carry(group)
		return true
	}
	over := time.AfterFunc(q.patience, q.run)
	q.carry(group)
	return over.Stop()
}

// carry has a group carried out, but for those whose callers are gone.
func (q *queue[C]) carry(group []C) {
	group = slices.DeleteFunc(group, func(c C) bool {
		gone := c.state().ctx.Err()
		if gone != nil {
			c.state().finish(gone)
		}
		return gone != nil
	})
	defer func() {
		panicked := recover()
		if panicked == nil {
			return
		}
		for _, c := range group { // nobody waits for ever
			select {
			case <-c.state().done:
			default:
				c.state().panicked = panicked
				c.state().finish(errPanicked)
			}
		}
	}()
	if len(group) > 0 {
		q.carryOut(group)
	}
}
