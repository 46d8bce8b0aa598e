// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"connectedapps.dev/operator/internal/registrar"
)

// Breaker answers for a server that keeps failing. After Failures failures in a
// row it opens: calls fail at once with the last reason. When its delay is over
// one call is tried; the breaker closes when that goes well, else it opens again
// for twice as long.
//
//	         Failures in a row, or the server asks to wait
//	closed ────────────────────────────────────────────────► open
//	   ▲                                                       │ delay over
//	   │                 trial succeeds                        ▼
//	   └──────────────────────────────────────────────────── trial ──fails──► open
//
// Its zero value is closed and has defaults.
type Breaker struct {
	// Failures in a row that open it; 0 means 5.
	Failures int
	// Delay is how long it stays open at first; 0 means 1 s. MaxDelay bounds
	// the doubling; 0 means 30 s.
	Delay, MaxDelay time.Duration

	mu       sync.Mutex
	failures int
	opened   int // times in a row
	until    time.Time
	trial    bool
	last     *registrar.Error
}

// Allow returns nil when a call may be made at now. Each nil must be followed by
// one Record.
func (b *Breaker) Allow(now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.blocks(now); err != nil {
		return err
	}
	b.trial = b.last != nil && !b.until.IsZero()
	return nil
}

// Blocks returns why no call may be made at now, nil when one may.
func (b *Breaker) Blocks(now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.blocks(now)
}

func (b *Breaker) blocks(now time.Time) error {
	if b.last == nil || b.until.IsZero() || !now.Before(b.until) && !b.trial {
		return nil
	}
	e := *b.last
	e.RetryAfter = max(b.until.Sub(now), 100*time.Millisecond)
	e.Message = fmt.Sprintf("not asked again yet, after %s", cmp.Or(b.last.Message, "an error"))
	return &e
}

// Record tells how a call ended, and returns whether that opened a breaker that
// was closed. A caller that gave up says nothing about the server.
func (b *Breaker) Record(now time.Time, err error) (opened bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	trial := b.trial
	b.trial = false
	if errors.Is(err, context.Canceled) {
		return false
	}
	if !registrar.IsUnavailable(err) {
		b.close()
		return false
	}
	failure, _ := errors.AsType[*registrar.Error](err)
	b.failures++
	closed := b.until.IsZero() // otherwise it was under way when that opened
	if trial || closed && b.failures >= cmp.Or(b.Failures, 5) || failure.RetryAfter > 0 {
		b.open(now, failure)
		return b.opened == 1
	}
	return false
}

// trouble returns the failure that keeps it open, nil when it is closed.
func (b *Breaker) trouble() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last == nil {
		return nil
	}
	return b.last
}

// trip opens it at once.
func (b *Breaker) trip(now time.Time, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if failure, ok := errors.AsType[*registrar.Error](err); ok {
		b.open(now, failure)
	}
}

func (b *Breaker) open(now time.Time, failure *registrar.Error) {
	delay, longest := cmp.Or(b.Delay, time.Second), cmp.Or(b.MaxDelay, 30*time.Second)
	for n := 0; n < b.opened && delay < longest; n++ {
		delay *= 2
	}
	delay = min(delay, longest)
	delay -= time.Duration(rand.Float64() * float64(delay) / 4)
	b.opened++
	b.last = failure
	b.until = now.Add(max(delay, failure.RetryAfter))
}

func (b *Breaker) close() {
	b.failures, b.opened, b.until, b.last = 0, 0, time.Time{}, nil
}

// allows tells whether the breaker is closed.
func (b *Breaker) allows() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.until.IsZero()
}
