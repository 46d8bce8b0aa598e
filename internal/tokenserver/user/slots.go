// SPDX-License-Identifier: Apache-2.0

package user

import (
	"context"
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
