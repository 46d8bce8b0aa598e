// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"context"
	"fmt"
	"time"
)

// Confirm returns nil when everything in memory is up to date, within StaleAfter.
// When the last poll is older, as on a machine that had no time for it, it polls
// itself. ErrStale when the database does not answer: after a second, at once when a
// poll has been under way for longer than it may, and when the last one failed and the
// next is not due or under way.
func (f *Follower) Confirm(ctx context.Context) error {
	if f.Fresh() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if !f.turnToConfirm(ctx) {
		return ErrStale
	}
	if f.Fresh() {
		f.give()
		return nil
	}
	return f.pollWithin(ctx)
}

// CatchUp returns nil when everything in memory is as it was in the database when
// CatchUp was called, or later. Whoever is about to refuse what another replica may
// just have made asks for that: it polls, once for all who wait, and not more often
// than every catchUpEvery. Errors: as Confirm.
func (f *Follower) CatchUp(ctx context.Context) error {
	asked := f.now()
	if !f.Confirmed().Before(asked) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if !f.rest(ctx) || !f.turnToConfirm(ctx) {
		return ErrStale
	}
	if !f.Confirmed().Before(asked) {
		f.give()
		return nil
	}
	return f.pollWithin(ctx)
}

// rest waits until the last poll that succeeded began catchUpEvery ago.
func (f *Follower) rest(ctx context.Context) bool {
	left := f.Confirmed().Add(catchUpEvery).Sub(f.now())
	if left <= 0 {
		return true
	}
	select {
	case <-time.After(left):
		return true
	case <-ctx.Done():
		return false
	}
}

// turnToConfirm takes the turn, if that is worth waiting for.
func (f *Follower) turnToConfirm(ctx context.Context) bool {
	if f.failed.Load() != nil {
		return f.due() && f.takeNow()
	}
	if began := f.began.Load(); began != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, orDefault(f.Timeout, DefaultTimeout)-f.now().Sub(*began))
		defer cancel()
	}
	if !f.take(ctx) {
		return false
	}
	// The poll that was waited for has failed.
	if !f.due() {
		f.give()
		return false
	}
	return true
}

// due tells that no poll has failed within the interval.
func (f *Follower) due() bool {
	failed := f.failed.Load()
	return failed == nil || f.now().Sub(*failed) >= orDefault(f.Interval, DefaultInterval)
}

// pollWithin polls in the turn that the caller has taken, and gives it back. The
// poll is everybody's: it goes on when ctx ends, and whoever gives up on it has
// not seen it fail.
func (f *Follower) pollWithin(ctx context.Context) error {
	done := make(chan error, 1)
	go func() {
		defer f.give()
		done <- f.poll(context.WithoutCancel(ctx))
	}()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("%w: %w", ErrStale, err)
		}
		return nil
	case <-ctx.Done():
		return ErrStale
	}
}

// Fresh tells whether everything in memory was up to date at most StaleAfter ago.
// It never waits.
func (f *Follower) Fresh() bool { return f.now().Sub(f.Confirmed()) <= StaleAfter }
