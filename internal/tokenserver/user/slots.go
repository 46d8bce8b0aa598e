// SPDX-License-Identifier: Apache-2.0

package user

import (
	"context"
	"errors"
	"runtime"
)

// slots bounds how many password checks run and wait at once: each costs 19 MiB
// and tens of milliseconds of a processor.
type slots struct {
	running chan struct{}
	waiting chan struct{}
}

func newSlots(running, queue int) *slots {
	if running <= 0 {
		running = max(1, runtime.GOMAXPROCS(0)/2)
	}
	return &slots{running: make(chan struct{}, running), waiting: make(chan struct{}, running+queue)}
}

// do runs work in a slot; ErrBusy when the queue is full.
func (s *slots) do(ctx context.Context, work func()) error {
	select {
	case s.waiting <- struct{}{}:
		defer func() { <-s.waiting }()
	default:
		return ErrBusy
	}
	select {
	case s.running <- struct{}{}:
		defer func() { <-s.running }()
	case <-ctx.Done():
		return ctx.Err()
	}
	work()
	return nil
}

// Checks tells how many password checks run and wait at present, and in how many
// slots. It never waits.
func (a *Authenticator) Checks() (running, waiting, slots int) {
	a.once.Do(a.init)
	running = len(a.slots.running)
	return running, max(0, len(a.slots.waiting)-running), cap(a.slots.running)
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
