// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Shared is an Output that other processes write as well. The engine looks at it
// before it decides anything: a token that another process published is kept, so
// that one of many asks, and what somebody spoilt is published again.
type Shared interface {
	Output
	// Look returns what is published for readers now; nil for none, or for
	// something that is not a token as a process of ours left it. purpose is what
	// the caller wants a token for. ErrNotOurs, wrapped, when the output belongs to
	// somebody else; any other error when what is published cannot be known.
	Look(ctx context.Context, purpose Purpose) (*Held, error)
	// Period is how long the engine may go without looking.
	Period() time.Duration
}

var (
	// ErrNotOurs is returned by a Shared output that belongs to somebody else.
	// Nothing was written.
	ErrNotOurs = errors.New("it belongs to somebody else")
	// ErrOvertaken is returned by Publish of a Shared output when another process
	// published since the last Look. Nothing was written.
	ErrOvertaken = errors.New("another process published first")
)

const (
	// A process of several waits a random time before it asks, so that the first
	// is done before the others look again: up to this share of the token's life,
	// and no longer than longestTurn.
	turnShare   = 20
	longestTurn = time.Minute
	// firstTurn bounds the wait of those that start together without a token.
	firstTurn = 2 * time.Second
)

// look takes up what readers have in a Shared output. The error is why that is
// not known; then a new token is of no use either.
func (e *Engine) look(ctx context.Context, purpose Purpose) error {
	shared, ok := e.Output.(Shared)
	if !ok {
		return nil
	}
	err := e.compare(ctx, shared, purpose)
	if err != nil && ctx.Err() == nil {
		err = &Error{Reason: ReasonOutputFailed, Err: err}
		e.noteUnseen(err)
		return err
	}
	if err == nil && e.unseen != nil {
		e.unseen = nil
		e.update(func(s *Status) { s.LastError = e.problem })
	}
	return err
}

// noteUnseen tells of an output that cannot be looked at, once.
func (e *Engine) noteUnseen(err error) {
	news := e.unseen == nil || e.unseen.Error() != err.Error()
	if e.unseen = err; !news || !e.publishable(e.now()) {
		return // without a token it is why there is none
	}
	e.Logger.Warn("cannot tell what readers have", "reason", ReasonOf(err), "error", err)
	e.update(func(s *Status) {
		s.LastError = err
		s.countFailure(ReasonOf(err))
	})
}

// compare makes one of what readers have and what this process holds.
func (e *Engine) compare(ctx context.Context, shared Shared, purpose Purpose) error {
	found, err := shared.Look(ctx, purpose)
	if errors.Is(err, ErrNotOurs) {
		e.held = nil // readers have something else
		e.update(func(s *Status) { s.ExpiresAt = time.Time{} })
	}
	if err != nil {
		return err
	}
	now := e.now()
	found = found.Anchored(now)
	same := found != nil && e.held != nil && found.AccessToken == e.held.AccessToken
	switch {
	case !same && (keeps(found, purpose, now) || !e.publishable(now)):
		e.takeUp(found, purpose, now)
	case !same && found.laterThan(e.held, now):
		// Of a clock ahead of this one's: readers have it, and it is not taken back.
	case e.publishable(now):
		e.held.bind(purpose)
		// What lacks of it is restored; nothing is written when nothing does.
		if err := shared.Publish(e.held, e.problem); err != nil && !errors.Is(err, ErrOvertaken) {
			return err
		}
	}
	return nil
}

// takeUp makes what is found in the output the token of this process.
func (e *Engine) takeUp(found *Held, purpose Purpose, now time.Time) {
	e.held = found
	if !found.Valid(now) {
		return // withdraw takes it away
	}
	found.bind(purpose)
	if found.isFor(purpose) {
		e.update(func(s *Status) { s.ExpiresAt = found.ExpiresAt })
	}
	if !keeps(found, purpose, now) {
		return
	}
	e.unpublished, e.problem, e.failures, e.turnAt = nil, nil, Failures{}, time.Time{}
	e.update(func(s *Status) { s.FailuresInRow, s.LastError = 0, nil })
	e.Logger.Info("took up the published token", "expires_at", found.ExpiresAt)
}

// publishable reports whether the held token may be given to readers.
func (e *Engine) publishable(now time.Time) bool {
	return e.held.Valid(now) && before(now, withdrawal(e.held))
}

// laterThan reports whether the token was issued after other and has not expired,
// by clocks that need not agree.
func (h *Held) laterThan(other *Held, now time.Time) bool {
	return h != nil && h.Validate(now) == nil && h.IssuedAt.After(other.IssuedAt)
}

// bind makes a stored purpose, which is an identity alone, the present one when
// that has the same.
func (h *Held) bind(purpose Purpose) {
	if h.Purpose == string(purpose.Identity()) {
		h.Purpose = string(purpose)
	}
}

// isFor reports whether the token has the identity that purpose asks for.
func (h *Held) isFor(purpose Purpose) bool {
	return purpose == "" || Purpose(h.Purpose).Identity() == purpose.Identity()
}

// keeps reports whether nothing is to be done about a stored token for now.
func keeps(h *Held, purpose Purpose, now time.Time) bool {
	if h == nil {
		return false
	}
	stored := Held{Token: h.Token, Purpose: string(Purpose(h.Purpose).Identity()), Doubted: h.Doubted}
	return Decide(&stored, string(purpose.Identity()), Failures{}, now).Action == Keep
}

// turn is Ask when this process may ask, and Wait while it is another's turn.
func (e *Engine) turn(purpose Purpose, now time.Time) Decision {
	if _, ok := e.Output.(Shared); !ok {
		return Decision{Action: Ask}
	}
	if e.turnAt.IsZero() {
		window := firstTurn
		if e.held.Valid(now) && e.held.isFor(purpose) {
			window = min(e.held.ExpiresAt.Sub(e.held.IssuedAt)/turnShare, longestTurn)
		}
		e.turnAt = now.Add(rand.N(window + 1))
	}
	if before(now, e.turnAt) {
		return Decision{Action: Wait, Until: e.turnAt}
	}
	e.turnAt = time.Time{}
	return Decision{Action: Ask}
}

// lookAgain is next, or when a Shared output is to be looked at if that is sooner.
func (e *Engine) lookAgain(next time.Time) time.Time {
	if shared, ok := e.Output.(Shared); ok {
		if at := e.now().Add(shared.Period()); at.Before(next) {
			return at
		}
	}
	return next
}
