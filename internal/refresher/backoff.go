// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"math/rand/v2"
	"time"
)

// Backoff is how long to wait between failed attempts: a delay that doubles
// with each failure and is then shortened at random by up to half, so that
// clients of one server that failed together do not come back together.
type Backoff struct {
	// Initial is the longest delay after the first failure; 0 means 1 s.
	Initial time.Duration
	// Max bounds the delay; 0 means 1 min.
	Max time.Duration
}

// Delay returns the wait after the given number of failures in a row, counted
// from 1.
func (b Backoff) Delay(failures int) time.Duration {
	delay := b.Longest(failures)
	return delay - time.Duration(rand.Float64()*float64(delay)/2)
}

// Longest is Delay before it is shortened.
func (b Backoff) Longest(failures int) time.Duration {
	delay, longest := b.Initial, b.Max
	if delay <= 0 {
		delay = time.Second
	}
	if longest <= 0 {
		longest = time.Minute
	}
	for i := 1; i < failures && delay < longest; i++ {
		delay *= 2
	}
	return min(delay, longest)
}
