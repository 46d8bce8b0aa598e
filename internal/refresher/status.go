// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"errors"
	"maps"
	"time"
)

// Status is what the engine has done and is about to do. The zero value is an
// engine that has not started.
type Status struct {
	// ExpiresAt is when the published token expires, or was withdrawn before
	// that; zero while none was published or found.
	ExpiresAt time.Time
	// NextAttempt is when the source is asked next; zero before the first
	// attempt has ended.
	NextAttempt time.Time
	// Refreshes counts the tokens published by this process.
	Refreshes int64
	// Failures counts the failed attempts of this process by reason.
	Failures map[Reason]int64
	// FailuresInRow counts the failed attempts since the last token.
	FailuresInRow int
	// LastError is why the latest attempt failed; nil when it did not.
	LastError error
	// held is the published token; nil: there is none.
	held *Held
}

// HasToken reports whether a token is or was there to read: applications may
// start.
func (s Status) HasToken() bool { return !s.ExpiresAt.IsZero() }

// Valid reports whether the published token is valid at now.
func (s Status) Valid(now time.Time) bool { return s.ExpiresAt.After(now) }

func (s *Status) countFailure(r Reason) {
	if s.Failures == nil {
		s.Failures = map[Reason]int64{}
	}
	s.Failures[r]++
}

// Status returns a copy of the engine's status. It may be called at any time
// from any goroutine.
func (e *Engine) Status() Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.status
	s.Failures = maps.Clone(s.Failures)
	return s
}

// Token returns the token that readers have, or an *Error that says why there is
// no valid one. It may be called at any time from any goroutine.
func (e *Engine) Token() (*Token, error) {
	s := e.Status()
	switch {
	case s.held.Valid(e.now()):
		return s.held.Token, nil
	case s.LastError != nil:
		return nil, s.LastError
	}
	return nil, &Error{Reason: ReasonServerUnavailable, Err: errors.New("no token yet")}
}

// show lets Token return what is held.
func (e *Engine) show() {
	var held *Held
	if e.held != nil {
		held = &Held{Token: e.held.Token} // others may read it while e.held changes
	}
	e.update(func(s *Status) { s.held = held })
}

func (e *Engine) update(change func(*Status)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(&e.status)
}
