// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"math/rand/v2"
	"time"
)

// A token is refreshed at a random moment between these shares of its life.
// The earlier bound keeps the number of requests low, the later one leaves a
// quarter of the life to sit out an outage, and the width spreads tokens that
// were made at the same moment.
const (
	refreshFrom = 0.55
	refreshTo   = 0.75
)

// RefreshAt returns when to ask for the successor of a token that lives from
// issued to expires: uniformly spread between 0.55 and 0.75 of its life. rnd
// returns a number in [0, 1); nil takes a random one. A life that is not
// positive gives issued: at once.
func RefreshAt(issued, expires time.Time, rnd func() float64) time.Time {
	life := expires.Sub(issued)
	if life <= 0 {
		return issued
	}
	share := refreshFrom + (refreshTo-refreshFrom)*random(rnd)
	return issued.Add(time.Duration(share * float64(life)))
}

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
// from 1, and never less than retryAfter, which is what the server asked for.
// rnd is as in RefreshAt.
func (b Backoff) Delay(failures int, retryAfter time.Duration, rnd func() float64) time.Duration {
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
	delay = min(delay, longest)
	delay -= time.Duration(random(rnd) * float64(delay) / 2)
	return max(delay, retryAfter)
}

func random(rnd func() float64) float64 {
	if rnd == nil {
		return rand.Float64()
	}
	return rnd()
}
