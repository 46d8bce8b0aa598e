// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

const (
	// A token is refreshed at a moment of its own between these shares of its
	// life. The earlier bound keeps the number of requests low, the later one
	// leaves a quarter of the life to sit out an outage, and the width spreads
	// tokens that were made at the same moment.
	refreshFrom = 0.55
	refreshTo   = 0.75
	// shortestWait keeps a server that issues tokens of almost no life from
	// being asked without pause.
	shortestWait = time.Second
	// clockSkew is how far in the future a token may have been issued: by the
	// clock of another machine. One from farther shows that the clock was set
	// back, so that nobody knows how old it is.
	clockSkew = 10 * time.Second
)

// Held is a token that readers have, and what is known of it.
type Held struct {
	*Token
	// Purpose is what it was issued for, as Decide is given it; empty when that
	// is not known.
	Purpose string
	// Doubted says that it may not work, though it has not expired: it is to be
	// replaced as soon as that can be.
	Doubted bool
}

// Anchored is h as a process found it: its times are bound to the monotonic
// clock of now, so that a later step of the wall clock makes it neither older
// nor younger. Nil stays nil.
func (h *Held) Anchored(now time.Time) *Held {
	if h == nil {
		return nil
	}
	token := *h.Token
	token.IssuedAt, token.ExpiresAt = now.Add(token.IssuedAt.Sub(now.Round(0))), now.Add(token.ExpiresAt.Sub(now.Round(0)))
	return &Held{Token: &token, Purpose: h.Purpose, Doubted: h.Doubted}
}

// Valid reports whether readers may go on with the token, whatever it is for.
func (h *Held) Valid(now time.Time) bool {
	return h != nil && h.Validate(now) == nil && !before(now.Add(clockSkew), h.IssuedAt)
}

// Serves reports whether the token is what purpose asks for and is known to
// work. An empty purpose asks for nothing in particular.
func (h *Held) Serves(purpose string, now time.Time) bool {
	return h.Valid(now) && !h.Doubted && (purpose == "" || h.Purpose == purpose)
}

// issuedWithin reports whether the token is what purpose asks for and younger
// than age, though it may be of no use any more.
func (h *Held) issuedWithin(age time.Duration, purpose string, now time.Time) bool {
	return h != nil && !h.Doubted && (purpose == "" || h.Purpose == purpose) &&
		before(now, h.IssuedAt.Add(age)) && !before(now, h.IssuedAt)
}

// RefreshAt is when the token is due to be replaced: at a share of its life that
// follows from the token alone, so that it is the same after a restart and
// differs from token to token; a second after it was issued at the soonest.
func (t *Token) RefreshAt() time.Time {
	life := t.ExpiresAt.Sub(t.IssuedAt)
	sum := sha256.Sum256([]byte(t.AccessToken))
	share := refreshFrom + (refreshTo-refreshFrom)*float64(binary.BigEndian.Uint32(sum[:4]))/(1<<32)
	return t.IssuedAt.Add(max(time.Duration(share*float64(life)), shortestWait))
}

// Failures are the failed attempts since the last token. The zero value is none.
type Failures struct {
	// Count is how many in a row.
	Count int
	// At is when the last one ended.
	At time.Time
	// Delay is the pause that it calls for, RetryAfter the one that the server
	// asked for; 0: none.
	Delay, RetryAfter time.Duration
	// Purpose is what was asked for.
	Purpose string
}

// Add is f with one more failure, which ended at now.
func (f Failures) Add(err error, purpose string, now time.Time, b Backoff) Failures {
	count := f.Count + 1
	return Failures{Count: count, At: now, Delay: b.Delay(count), RetryAfter: RetryAfter(err), Purpose: purpose}
}

// Action is what is to be done about a token.
type Action int

// The actions.
const (
	// Keep: the token serves until it is due.
	Keep Action = iota
	// Ask: a new token is to be asked for now.
	Ask
	// Wait: a new token is needed, and it is too early to ask again.
	Wait
)

func (a Action) String() string { return [...]string{"keep", "ask", "wait"}[a] }

// Decision is an action, and for Keep and Wait when to decide again.
type Decision struct {
	Action Action
	Until  time.Time
}

// Decide says what to do about the token that readers have, nil for none, when
// it is to serve purpose. It is the whole schedule of the sidecar and of the
// manager:
//
//   - A token that serves is kept until RefreshAt.
//   - Any other is replaced: at once, or when the pause after the last failure
//     is over. A pause never outlasts a token that still serves: three quarters
//     of what is left of its life at most. One that was for another purpose is
//     over, but for what the server itself asked to wait.
//   - No token is replaced in the second in which it was issued, however short
//     its life.
//   - A clock that was set back makes nothing live or wait longer: time has come
//     when either the wall clock or the monotonic one says so, and a token or a
//     failure from the future counts as none.
func Decide(held *Held, purpose string, failures Failures, now time.Time) Decision {
	serves := held.Serves(purpose, now)
	if serves {
		if due := held.RefreshAt(); before(now, due) {
			return Decision{Action: Keep, Until: due}
		}
	}
	if failures.Count == 0 || before(now, failures.At) {
		if justNow := held.issuedWithin(shortestWait, purpose, now); justNow {
			return Decision{Action: Wait, Until: held.IssuedAt.Add(shortestWait)}
		}
		return Decision{Action: Ask}
	}
	pause := failures.RetryAfter
	if failures.Purpose == purpose {
		pause = max(pause, failures.Delay)
	}
	if serves {
		rest := held.ExpiresAt.Sub(failures.At)
		pause = min(pause, max(rest*3/4, shortestWait))
	}
	if next := failures.At.Add(pause); before(now, next) {
		return Decision{Action: Wait, Until: next}
	}
	return Decision{Action: Ask}
}

// before reports whether t is still to come, by the wall clock and by the
// monotonic one, where both times have it.
func before(now, t time.Time) bool {
	return now.Before(t) && now.Round(0).Before(t.Round(0))
}
