// SPDX-License-Identifier: Apache-2.0

package assertion

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// ErrUsed says that an assertion counted before.
var ErrUsed = errors.New("jti was used before")

// Uses lets an assertion count once
// (https://www.rfc-editor.org/rfc/rfc7523#section-3). A use that a fault of the
// storage made worthless is forgiven, so that the client may repeat its request as
// it is. What is forgiven is remembered here alone: at another replica the client
// signs a new assertion.
type Uses struct {
	Store storage.Assertions
	Now   func() time.Time

	mu       sync.Mutex
	pending  map[use]bool      // asked of the storage at this moment
	forgiven map[use]time.Time // until when each could be presented
}

// use is one use of an assertion.
type use struct{ clientID, jti string }

// maxForgiven bounds the memory that an outage may take.
const maxForgiven = 10_000

// Use notes that an app's assertion counts, and returns how to take that back.
// Errors: ErrUsed, storage.ErrUnavailable.
func (u *Uses) Use(ctx context.Context, clientID, jti string, expiresAt time.Time) (forgive func(), err error) {
	one := use{clientID, jti}
	if !u.begin(one) {
		// It is not known yet what becomes of the first.
		return nil, fmt.Errorf("the same assertion is being noted: %w", storage.ErrUnavailable)
	}
	until := expiresAt.Add(Skew)
	err = u.Store.UseAssertion(ctx, clientID, jti, until)
	return u.end(one, until, err)
}

func (u *Uses) begin(one use) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.pending[one] {
		return false
	}
	if u.pending == nil {
		u.pending, u.forgiven = map[use]bool{}, map[use]time.Time{}
	}
	u.pending[one] = true
	return true
}

func (u *Uses) end(one use, until time.Time, err error) (func(), error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.pending, one)
	_, forgiven := u.forgiven[one]
	switch {
	case err == nil, errors.Is(err, storage.ErrAlreadyExists) && forgiven:
		// Forgiven once is used once.
		delete(u.forgiven, one)
		return func() { u.forgive(one, until) }, nil
	case errors.Is(err, storage.ErrAlreadyExists):
		return nil, ErrUsed
	case errors.Is(err, storage.ErrUnavailable), errors.Is(err, context.Canceled):
		u.keep(one, until) // it may have been written all the same
	}
	return nil, fmt.Errorf("noting the use of an assertion: %w", err)
}

func (u *Uses) forgive(one use, until time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.keep(one, until)
}

func (u *Uses) keep(one use, until time.Time) {
	if now := u.Now(); len(u.forgiven) >= maxForgiven {
		maps.DeleteFunc(u.forgiven, func(_ use, until time.Time) bool { return !now.Before(until) })
	}
	if len(u.forgiven) < maxForgiven {
		u.forgiven[one] = until
	}
}
