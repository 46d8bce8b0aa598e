// SPDX-License-Identifier: Apache-2.0

package user

import (
	"context"
	"errors"
	"runtime"
	"time"
)

// slots bounds how many password checks run and wait at once: each costs 19 MiB
// and tens of milliseconds of a processor.
type slots struct {
	running chan struct{}
	waiting chan struct{}
	// rests tells that a slot is empty after a check for as long as that took. With a
	// single processor there is no half to leave to others but half of the time.
	rests bool
}

// newSlots takes half of the processors when running is zero.
func newSlots(running, queue int) *slots {
	processors, rests := runtime.GOMAXPROCS(0), false
	if running <= 0 {
		running, rests = max(1, processors/2), processors == 1
	}
	return &slots{running: make(chan struct{}, running), waiting: make(chan struct{}, running+queue), rests: rests}
}

// do runs work in a slot; ErrBusy when the queue is full.
func (s *slots) do(ctx context.Context, work func()) error {
	select {
	case s.waiting <- struct{}{}:
	default:
		return ErrBusy
	}
	select {
	case s.running <- struct{}{}:
	case <-ctx.Done():
		<-s.waiting
		return ctx.Err()
	}
	defer s.leave(time.Now())
	work()
	return nil
}

// leave gives back the slot of a check that began then.
func (s *slots) leave(began time.Time) {
	free := func() {
		<-s.running
		<-s.waiting
	}
	if s.rests {
		time.AfterFunc(time.Since(began), free)
		return
	}
	free()
}

// Checks tells how many password checks run and wait at present, and in how many
// slots; one that rests counts as running. It never waits.
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
