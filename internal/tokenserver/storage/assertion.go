// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"time"
)

// Assertions is the role of assertions that count once.
type Assertions interface {
	// UseAssertion notes that an app's assertion was used, until it expires;
	// ErrAlreadyExists when it was used before, until another time: the very same
	// call may be repeated, for a caller who got no answer.
	UseAssertion(ctx context.Context, clientID, jti string, expiresAt time.Time) error
	// AssertionUsed tells whether one was, and uses none.
	AssertionUsed(ctx context.Context, clientID, jti string) (bool, error)
}
