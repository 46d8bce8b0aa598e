// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

const (
	// longestSleep is how long the engine sleeps without looking at the
	// credentials: not every file system tells of changes.
	longestSleep = 5 * time.Minute
	// clockInterval is how long it sleeps without looking at the clock, which
	// somebody may set, and which a timer does not follow while a machine is
	// suspended: a token that ended by it is seen for so long.
	clockInterval = 10 * time.Second
)

// Output is where the engine publishes tokens.
type Output interface {
	// Load returns what is published, as an earlier process left it; an
	// error when that is nothing or cannot be used.
	Load() (*Held, error)
	// Publish replaces what is published as a whole: the token, nil for none,
	// and problem, why there is no newer one, nil for none. After an error what
	// was published before is still there.
	Publish(token *Held, problem error) error
}

// Engine keeps the output's token fresh. Its loop carries out what Decide says:
//
//	           ┌── Keep ──► sleep ◄──────────────────────────────┐
//	Decide ────┼── Wait ──► sleep ──► Decide                     │
//	  ▲        └── Ask ──► source ──┬── token ──► publish ───────┤
//	  │                             └── failure: told beside ────┘
//	  └── Wake, or the time that Decide gave
//
// An expired or malformed token is never published, and one that expires because
// the source has no successor is withdrawn. A Shared output is looked at first.
type Engine struct {
	// Name tells the token from others of the process; empty when it is the only
	// one.
	Name    string
	Source  Source
	Output  Output
	Backoff Backoff
	// Wake makes the engine decide anew at once: the credentials may have
	// changed. Nil: it looks at them every five minutes.
	Wake <-chan struct{}
	// Logger gets one line per attempt; it must not be nil.
	Logger *slog.Logger

	// held is the published token; nil: there is none.
	held *Held
	// unpublished is a token that the output did not take; nil: there is none.
	unpublished *Held
	// problem is why the last attempt failed, told whether readers were told.
	problem  error
	told     bool
	failures Failures
	// unseen is why a Shared output could not be looked at, turnAt when this
	// process may ask beside others; zero: there is no such thing.
	unseen error
	turnAt time.Time

	mu     sync.Mutex
	status Status

	// clock is the time in tests that set it; nil means time.Now.
	clock func() time.Time
}

// Run refreshes until ctx ends, which is the only way it ends.
func (e *Engine) Run(ctx context.Context) {
	e.restore(ctx)
	for ctx.Err() == nil {
		e.sleepUntil(ctx, e.step(ctx))
	}
}

// Once tries until one token is published or ctx ends, and returns the last
// attempt's error in the latter case.
func (e *Engine) Once(ctx context.Context) error {
	e.restore(ctx)
	var last error
	for ctx.Err() == nil {
		next := e.step(ctx)
		if e.held.Valid(e.now()) && e.problem == nil && e.turnAt.IsZero() {
			return nil
		}
		if ctx.Err() == nil {
			last = e.problem
		}
		e.sleepUntil(ctx, next)
	}
	if last == nil {
		last = ctx.Err()
	}
	return last
}

// restore takes up the token that an earlier process published, so that a
// restart neither asks for another nor makes it count as missing. One that
// expired meanwhile is withdrawn.
func (e *Engine) restore(ctx context.Context) {
	defer e.show()
	found, err := e.Output.Load()
	if err != nil {
		return
	}
	now := e.now()
	e.held = found.Anchored(now)
	if !e.held.Valid(now) {
		return
	}
	if purpose, err := e.Source.Purpose(ctx); err == nil && purpose.Identity() == Purpose(e.held.Purpose).Identity() {
		e.held.Purpose = string(purpose)
	}
	e.update(func(s *Status) { s.ExpiresAt = found.ExpiresAt })
	e.Logger.Info("found a valid token", "expires_at", found.ExpiresAt)
}

// step does what is to be done now and returns when to look again.
func (e *Engine) step(ctx context.Context) (next time.Time) {
	// Why the purpose is not known, asking tells.
	purpose, _ := e.Source.Purpose(ctx)
	unseen := e.look(ctx, purpose)
	decision := Decide(e.held, string(purpose), e.failures, e.now())
	if decision.Action == Ask && unseen == nil {
		decision = e.turn(purpose, e.now())
	}
	if decision.Action == Ask {
		problem := unseen
		if problem == nil {
			problem = e.ask(ctx, string(purpose))
		}
		if problem != nil && ctx.Err() != nil || errors.Is(problem, ErrOvertaken) {
			return e.now() // stopped, not failed; or to look again
		}
		e.count(problem, string(purpose))
		decision = Decide(e.held, string(purpose), e.failures, e.now())
		e.log(decision.Until)
	}
	e.withdraw()
	e.tell()
	next = e.lookAgain(decision.Until)
	if e.held != nil && withdrawal(e.held).Before(next) {
		// What cannot be withdrawn is tried again, and not without pause.
		next = withdrawal(e.held)
		if now := e.now(); !before(now, next) {
			next = now.Add(shortestWait)
		}
	}
	e.update(func(s *Status) { s.NextAttempt = next })
	e.show()
	return next
}

// ask gets a token and publishes it, or one that the output did not take before.
func (e *Engine) ask(ctx context.Context, purpose string) error {
	next := e.unpublished
	if !next.Serves(purpose, e.now()) {
		token, err := e.Source.Token(ctx)
		if err != nil {
			return err
		}
		if err := token.Validate(e.now()); err != nil {
			return &Error{Reason: ReasonResponseInvalid, Err: err}
		}
		next = &Held{Token: token, Purpose: purpose}
	}
	e.unpublished = next
	if err := e.Output.Publish(next, nil); err != nil {
		return &Error{Reason: ReasonOutputFailed, Err: err}
	}
	e.held, e.unpublished, e.told = next, nil, true
	return nil
}

// count records how an attempt ended.
func (e *Engine) count(problem error, purpose string) {
	if problem == nil {
		e.failures = Failures{}
	} else {
		e.failures = e.failures.Add(problem, purpose, e.now(), e.Backoff)
		e.told = e.told && e.problem != nil && e.problem.Error() == problem.Error()
	}
	e.problem = problem
	e.update(func(s *Status) {
		s.FailuresInRow, s.LastError = e.failures.Count, problem
		if problem != nil {
			s.countFailure(ReasonOf(problem))
			return
		}
		s.Refreshes++
		s.ExpiresAt = e.held.ExpiresAt
	})
}

func (e *Engine) log(next time.Time) {
	if e.problem == nil {
		e.Logger.Info("published a token", "expires_at", e.held.ExpiresAt, "scope", e.held.Scope, "next_refresh", next)
		return
	}
	log := e.Logger.With("reason", ReasonOf(e.problem), "error", Explain(e.problem), "next_attempt", next)
	switch {
	case e.held.Valid(e.now()):
		log.Warn("keeping the token published before", "expires_at", e.held.ExpiresAt)
	case e.Status().HasToken():
		log.Error("the published token has expired", "expired_at", e.Status().ExpiresAt)
	default:
		log.Error("no token yet")
	}
}

// withdraw takes a token away from readers that has come to its end, or of which
// nobody knows when that is.
func (e *Engine) withdraw() {
	now := e.now()
	if e.held == nil || e.held.Valid(now) && before(now, withdrawal(e.held)) {
		return
	}
	if err := e.Output.Publish(nil, e.problem); err != nil {
		e.Logger.Error("the token has expired and cannot be withdrawn", "error", err)
		return
	}
	e.held, e.told = nil, true
	e.update(func(s *Status) {
		if s.ExpiresAt.After(now) {
			s.ExpiresAt = now
		}
	})
}

// withdrawal is when a token is taken away: a second before the end that readers
// are told, which is in whole seconds, so that nobody reads it in its last instant.
// Of a short life it is the last tenth at most.
func withdrawal(h *Held) time.Time {
	fraction := time.Duration(h.ExpiresAt.Nanosecond())
	return h.ExpiresAt.Add(-min(time.Second+fraction, h.ExpiresAt.Sub(h.IssuedAt)/10))
}

// tell publishes why there is no newer token, once. In a Shared output it would
// be the problem of one process among the tokens of others.
func (e *Engine) tell() {
	if _, shared := e.Output.(Shared); shared || e.told || e.problem == nil {
		return
	}
	if err := e.Output.Publish(e.held, e.problem); err != nil {
		return // the log has it, and what the output lacks is tried again
	}
	e.told = true
}

// sleepUntil returns when at has come by the wall clock or by the monotonic one,
// whichever says so first, when something woke the engine, when ctx ends, or
// after longestSleep.
func (e *Engine) sleepUntil(ctx context.Context, at time.Time) {
	if last := e.now().Add(longestSleep); last.Before(at) {
		at = last
	}
	for {
		now := e.now()
		wait := min(at.Sub(now), at.Round(0).Sub(now.Round(0)), clockInterval)
		if wait <= 0 || !e.nap(ctx, wait) {
			return
		}
	}
}

// nap reports whether it lasted.
func (e *Engine) nap(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-e.Wake:
	case <-timer.C:
		return true
	}
	return false
}

func (e *Engine) now() time.Time {
	if e.clock != nil {
		return e.clock()
	}
	return time.Now()
}
