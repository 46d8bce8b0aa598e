// SPDX-License-Identifier: Apache-2.0

package user

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"
)

// slots bounds how many password checks run and wait at once: each costs 19 MiB
// and tens of milliseconds of a processor. Who waits is served in rounds, in which
// every source has one turn, so that one that sends many is in nobody's way but its
// own.
type slots struct {
	// size is how many run at once, queue how many wait.
	size, queue int
	// rests tells that a slot is empty after a check for as long as that took, up to
	// maxRest.
	rests bool

	mu sync.Mutex
	// round is that of the last check that began.
	round   int
	running []string // the source of each
	waiting []*turn  // in order of arrival
}

// turn is a check that waits.
type turn struct {
	source string
	round  int
	// begin is sent nil when the check may run, and ErrBusy when it lost its place.
	begin chan error
}

const (
	// fewProcessors is how many leave no half of them to others but half of the time.
	// Where a quota allows one processor or less, Go counts two.
	fewProcessors = 2
	// maxRest is more than a check takes on an idle processor. On a busy one it takes
	// long because others have it already.
	maxRest = 100 * time.Millisecond
	// maxSlots bounds the memory of checks on machines of many processors.
	maxSlots = 4
)

// newSlots takes what share leaves to checks when size is zero.
func newSlots(size, queue int) *slots {
	rests := false
	if size <= 0 {
		size, rests = share(runtime.GOMAXPROCS(0))
	}
	return &slots{size: size, queue: queue, rests: rests}
}

// share is how many checks may run at once on so many processors, and whether they
// rest in between: together they get half of the processors, or less.
func share(processors int) (size int, rests bool) {
	return min(max(1, processors/2), maxSlots), processors <= fewProcessors
}

// do runs work of a source in a slot. ErrBusy when the queue is full, unless another
// source has more in it, which then loses its last.
func (s *slots) do(ctx context.Context, source string, work func()) error {
	mine := s.arrive(source)
	select {
	case err := <-mine.begin:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		s.giveUp(mine)
		return ctx.Err()
	}
	defer s.leave(source, time.Now())
	work()
	return nil
}

// arrive queues a check, in the first round that has no other of its source.
func (s *slots) arrive(source string) *turn {
	s.mu.Lock()
	defer s.mu.Unlock()
	mine := &turn{source: source, round: s.round, begin: make(chan error, 1)}
	for _, other := range s.running {
		if other == source {
			mine.round++
		}
	}
	for _, other := range s.waiting {
		if other.source == source {
			mine.round++
		}
	}
	s.waiting = append(s.waiting, mine)
	s.beginNext()
	if len(s.waiting) > s.queue {
		s.remove(s.last()).begin <- ErrBusy
	}
	return mine
}

// beginNext fills the slots that are free.
func (s *slots) beginNext() {
	for len(s.running) < s.size && len(s.waiting) > 0 {
		first := 0
		for i, w := range s.waiting {
			if w.round < s.waiting[first].round {
				first = i
			}
		}
		next := s.remove(first)
		s.round = max(s.round, next.round)
		s.running = append(s.running, next.source)
		next.begin <- nil
	}
}

// last is the place of the one whose turn is last.
func (s *slots) last() int {
	last := 0
	for i, w := range s.waiting {
		if w.round >= s.waiting[last].round {
			last = i
		}
	}
	return last
}

func (s *slots) remove(i int) *turn {
	removed := s.waiting[i]
	s.waiting = slices.Delete(s.waiting, i, i+1)
	return removed
}

// giveUp ends the wait of a check whose request has ended.
func (s *slots) giveUp(mine *turn) {
	s.mu.Lock()
	i := slices.Index(s.waiting, mine)
	if i >= 0 {
		s.remove(i)
	}
	s.mu.Unlock()
	if i < 0 && <-mine.begin == nil { // its turn came meanwhile
		s.free(mine.source)
	}
}

// leave gives back the slot of a check that began then.
func (s *slots) leave(source string, began time.Time) {
	if s.rests {
		time.AfterFunc(min(time.Since(began), maxRest), func() { s.free(source) })
		return
	}
	s.free(source)
}

func (s *slots) free(source string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.running, source)
	s.running = slices.Delete(s.running, i, i+1)
	s.beginNext()
}

func (s *slots) counts() (running, waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.running), len(s.waiting)
}

// Checks tells how many password checks run and wait at present, and in how many
// slots; one that rests counts as running.
func (a *Authenticator) Checks() (running, waiting, slots int) {
	a.once.Do(a.init)
	running, waiting = a.slots.counts()
	return running, waiting, a.slots.size
}

// failureReason says in a word why a password was not accepted; empty when it was,
// or when the caller went away.
func failureReason(err error) string {
	throttled := (*ThrottledError)(nil)
	switch {
	case errors.Is(err, ErrInvalidCredentials):
		return "invalid_credentials"
	case errors.As(err, &throttled):
		return "throttled"
	case errors.Is(err, ErrBusy):
		return "busy"
	}
	return ""
}
