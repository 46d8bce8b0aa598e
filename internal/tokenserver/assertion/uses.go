// SPDX-License-Identifier: Apache-2.0

package assertion

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// ErrUsed says that an assertion counted before.
var ErrUsed error = ClaimError("jti was used before")

// Uses lets an assertion count once
// (https://www.rfc-editor.org/rfc/rfc7523#section-3). A use that a fault of the
// storage made worthless does not count, so that the client may repeat its request
// as it is: what the storage holds of a use carries a mark, and under the same mark
// it may be written again. Marks of such uses are remembered here alone: at another
// replica the client signs a new assertion. Nobody gets a mark that is not of a use
// which failed here, so an assertion that was used before stays so.
type Uses struct {
	Store storage.Assertions
	Now   func() time.Time

	mu    sync.Mutex
	marks map[use]time.Time
}

// use is one use of an assertion.
type use struct{ clientID, jti string }

const (
	// maxMarks bounds the memory that an outage may take.
	maxMarks = 10_000
	// markSpan is how much longer than necessary a use is remembered at most: the
	// mark is the microsecond until which it is.
	markSpan = time.Hour
)

// Use notes that an app's assertion counts, and returns how to take that back.
// Errors: ErrUsed, or those of the storage.
func (u *Uses) Use(ctx context.Context, clientID, jti string, expiresAt time.Time) (forgive func(), err error) {
	one := use{clientID, jti}
	mark := u.mark(one, expiresAt)
	err = u.Store.UseAssertion(ctx, clientID, jti, mark)
	switch {
	case errors.Is(err, storage.ErrAlreadyExists):
		return nil, ErrUsed
	case err != nil:
		u.keep(one, mark) // it may have been written all the same
		return nil, fmt.Errorf("noting the use of an assertion: %w", err)
	}
	return func() { u.keep(one, mark) }, nil
}

// Check tells whether an assertion may still count, and uses nothing up: what a
// request changes beside its answer, a replayed one must not change again. Errors:
// ErrUsed, or those of the storage.
func (u *Uses) Check(ctx context.Context, clientID, jti string) error {
	u.mu.Lock()
	_, failed := u.marks[use{clientID, jti}]
	u.mu.Unlock()
	if failed {
		return nil
	}
	used, err := u.Store.AssertionUsed(ctx, clientID, jti)
	switch {
	case err != nil:
		return fmt.Errorf("looking up the use of an assertion: %w", err)
	case used:
		return ErrUsed
	}
	return nil
}

// mark is that of a use which failed, for one caller, or a new one.
func (u *Uses) mark(one use, expiresAt time.Time) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	if mark, ok := u.marks[one]; ok {
		delete(u.marks, one)
		return mark
	}
	var random [8]byte
	_, _ = rand.Read(random[:])
	offset := binary.BigEndian.Uint64(random[:]) % uint64(markSpan/time.Microsecond)
	return expiresAt.Add(Skew + time.Duration(offset)*time.Microsecond).Truncate(time.Microsecond)
}

func (u *Uses) keep(one use, mark time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.marks == nil {
		u.marks = map[use]time.Time{}
	}
	if now := u.Now(); len(u.marks) >= maxMarks {
		maps.DeleteFunc(u.marks, func(_ use, mark time.Time) bool { return !now.Before(mark) })
	}
	if len(u.marks) < maxMarks {
		u.marks[one] = mark
	}
}
