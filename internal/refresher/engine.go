// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// shortestWait keeps a server that issues tokens of almost no life from
	// being asked without pause.
	shortestWait = time.Second
	// longestSleep is how long the engine sleeps without looking at the
	// clock: a timer stands still while a machine is suspended, and a
	// token's life does not.
	longestSleep = 5 * time.Minute
)

// Output is where the engine publishes tokens.
type Output interface {
	// Load returns what is published, as an earlier process left it; an
	// error when that is nothing or cannot be used.
	Load() (*Token, error)
	// Publish replaces what is published as a whole. After an error the
	// token before is still there.
	Publish(t *Token) error
}

// Engine keeps the output's token fresh. Its loop asks the source at once and
// then at the time RefreshAt gives; after a failure it asks again with backoff,
// for as long as it runs, and the published token stays as it is:
//
//	           ┌── token ──► publish ──► wait until 0.55-0.75 of its life ──┐
//	ask source ┤                                                            ├──► ask source
//	           └── failure ───────────► wait by backoff ────────────────────┘
//
// An expired or malformed token is never published. One that expires because
// the source has no successor stays readable, its expiry beside it, and Status
// says that it is not valid.
type Engine struct {
	Source  Source
	Output  Output
	Backoff Backoff
	// Logger gets one line per attempt; it must not be nil.
	Logger *slog.Logger

	mu     sync.Mutex
	status Status
	random func() float64
}

// Run refreshes until ctx ends, which is the only way it ends.
func (e *Engine) Run(ctx context.Context) {
	e.restore()
	for ctx.Err() == nil {
		next := e.attempt(ctx)
		sleepUntil(ctx, next)
	}
}

// Once tries until one token is published or ctx ends, and returns the last
// attempt's error in the latter case.
func (e *Engine) Once(ctx context.Context) error {
	var last error
	for ctx.Err() == nil {
		next := e.attempt(ctx)
		if err := e.Status().LastError; err == nil && e.Status().Refreshes > 0 {
			return nil
		} else if ctx.Err() == nil {
			last = err
		}
		sleepUntil(ctx, next)
	}
	if last == nil {
		last = ctx.Err()
	}
	return last
}

// restore takes up the token that an earlier process published, so that a
// restart during an outage does not make a valid token count as missing.
func (e *Engine) restore() {
	token, err := e.Output.Load()
	if err != nil || token.Validate(time.Now()) != nil {
		return
	}
	e.update(func(s *Status) { s.ExpiresAt = token.ExpiresAt })
	e.Logger.Info("found a valid token", "expires_at", token.ExpiresAt)
}

// attempt asks for and publishes one token and returns when the next attempt
// is due.
func (e *Engine) attempt(ctx context.Context) (next time.Time) {
	token, err := e.refresh(ctx)
	if ctx.Err() != nil && err != nil {
		return time.Now() // stopped, not failed
	}
	if err != nil {
		return e.failed(err)
	}
	return e.succeeded(token)
}

func (e *Engine) refresh(ctx context.Context) (*Token, error) {
	token, err := e.Source.Token(ctx)
	if err != nil {
		return nil, err
	}
	if err := token.Validate(time.Now()); err != nil {
		return nil, &Error{Reason: ReasonResponseInvalid, Err: err}
	}
	if err := e.Output.Publish(token); err != nil {
		return nil, &Error{Reason: ReasonOutputFailed, Err: err}
	}
	return token, nil
}

func (e *Engine) succeeded(token *Token) time.Time {
	next := RefreshAt(token.IssuedAt, token.ExpiresAt, e.random)
	if soonest := time.Now().Add(shortestWait); next.Before(soonest) {
		next = soonest
	}
	e.update(func(s *Status) {
		s.ExpiresAt = token.ExpiresAt
		s.Refreshes++
		s.FailuresInRow = 0
		s.LastError = nil
		s.NextAttempt = next
	})
	e.Logger.Info("published a token", "expires_at", token.ExpiresAt, "scope", token.Scope, "next_refresh", next)
	return next
}

func (e *Engine) failed(err error) time.Time {
	now := time.Now()
	var next time.Time
	var expires time.Time
	e.update(func(s *Status) {
		s.FailuresInRow++
		s.countFailure(ReasonOf(err))
		s.LastError = err
		next = now.Add(e.Backoff.Delay(s.FailuresInRow, RetryAfter(err), e.random))
		s.NextAttempt = next
		expires = s.ExpiresAt
	})
	log := e.Logger.With("reason", ReasonOf(err), "error", err, "next_attempt", next)
	switch {
	case expires.IsZero():
		log.Error("no token yet")
	case expires.After(now):
		log.Warn("keeping the token published before", "expires_at", expires)
	default:
		log.Error("the published token has expired", "expired_at", expires)
	}
	return next
}

// sleepUntil returns when at has come by the wall clock or by the monotonic
// one, whichever says so first, or when ctx ends.
func sleepUntil(ctx context.Context, at time.Time) {
	for {
		wait := min(time.Until(at), time.Until(at.Round(0)))
		if wait <= 0 {
			return
		}
		timer := time.NewTimer(min(wait, longestSleep))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}
