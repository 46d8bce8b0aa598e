// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// board plays an output that several processes share.
type board struct {
	mu      sync.Mutex
	version int
	token   *Held
	fault   error // of Look
	refuse  error // of Publish
	writes  int
}

// view is one process's access to it.
type view struct {
	*board
	seen int
}

func (v *view) Load() (*Held, error) { return v.Look(context.Background(), "") }

func (v *view) Look(context.Context, Purpose) (*Held, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fault == nil || errors.Is(v.fault, ErrNotOurs) {
		v.seen = v.version
	}
	if v.fault != nil {
		return nil, v.fault
	}
	if v.token == nil {
		return nil, nil
	}
	found := *v.token
	return &found, nil
}

func (v *view) Publish(token *Held, _ error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.refuse != nil:
		return v.refuse
	case v.seen != v.version:
		return ErrOvertaken
	case token == nil && v.token == nil, token != nil && v.token != nil && token.AccessToken == v.token.AccessToken:
		return nil
	}
	v.version, v.writes, v.token = v.version+1, v.writes+1, nil
	if token != nil {
		stored := *token.Token
		stored.IssuedAt, stored.ExpiresAt = stored.IssuedAt.Round(0), stored.ExpiresAt.Round(0)
		v.token = &Held{Token: &stored, Purpose: string(Purpose(token.Purpose).Identity())}
	}
	v.seen = v.version
	return nil
}

func (v *view) Period() time.Duration { return 30 * time.Second }

// spoil is an edit by somebody else.
func (b *board) spoil(change func(*board)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(b)
	b.version++
}

func (b *board) published() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.token == nil {
		return ""
	}
	return b.token.AccessToken
}

func sharing(source Source, b *board) *Engine {
	return &Engine{Source: source, Output: &view{board: b, seen: -1}, Logger: slog.New(slog.DiscardHandler)}
}

// Ten Pods that start together and live for a day ask hardly more often than one.
func TestManyThatShareAskAsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, b := newServer(time.Hour, false), &board{}
		slow := sourceFunc(func(ctx context.Context) (*Token, error) {
			time.Sleep(50 * time.Millisecond)
			return s.Token(ctx)
		})
		engines := make([]*Engine, 10)
		for i := range engines {
			engines[i] = sharing(slow, b)
			go engines[i].Run(t.Context())
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		require.GreaterOrEqual(t, b.writes, 32, "24 hours in lives of at most 45 minutes")
		require.Less(t, len(s.calls()), 2*b.writes, "ten that do not share ask ten times for each")
		for _, e := range engines {
			require.Equal(t, b.published(), e.held.AccessToken)
			require.NoError(t, e.Status().LastError)
		}
	})
}

func TestAFreshTokenOfAnotherProcessIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, b := newServer(time.Hour, false), &board{}
		go sharing(s, b).Run(t.Context())
		time.Sleep(5 * time.Second)
		e := sharing(s, b)
		require.NoError(t, e.Once(t.Context()))
		require.Len(t, s.calls(), 1)
		require.True(t, e.Status().Valid(time.Now()))
	})
}

// A new client secret makes each of them want a new token; one asks for it.
func TestOneAsksAfterARotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, b := newServer(time.Hour, false), &board{}
		wake := make([]chan struct{}, 3)
		for i := range wake {
			e := sharing(s, b)
			wake[i] = make(chan struct{}, 1)
			e.Wake = wake[i]
			go e.Run(t.Context())
			time.Sleep(5 * time.Second)
		}
		s.set("", "another")
		for _, w := range wake {
			w <- struct{}{}
			time.Sleep(2 * time.Minute)
		}
		require.Len(t, s.calls(), 2)
		require.Equal(t, "token-2", b.published())
	})
}

func TestWhatIsSpoiltIsRestoredWithoutAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, b := newServer(time.Hour, false), &board{}
		for range 3 {
			go sharing(s, b).Run(t.Context())
			time.Sleep(5 * time.Second)
		}
		b.spoil(func(b *board) { b.token = nil })
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, "token-1", b.published())
		require.Len(t, s.calls(), 1)
	})
}

// Two nodes whose clocks differ do not take each other's tokens back.
func TestALaterTokenIsNotTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, b := newServer(time.Hour, false), &board{}
		e := sharing(s, b)
		go e.Run(t.Context())
		time.Sleep(time.Minute)
		later := &Held{Token: testToken("later", time.Hour), Purpose: string(appPurpose.Identity())}
		later.IssuedAt = later.IssuedAt.Add(5 * time.Minute)
		later.ExpiresAt = later.ExpiresAt.Add(5 * time.Minute)
		b.spoil(func(b *board) { b.token = later })
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, "later", b.published())
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.Equal(t, "later", e.held.AccessToken)
		require.Len(t, s.calls(), 1)
	})
}

// The server is not asked for a token that could not be published.
func TestNothingIsAskedWhileTheOutputCannotBeLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, b := newServer(time.Hour, false), &board{fault: errors.New("forbidden")}
		e := sharing(s, b)
		go e.Run(t.Context())
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.Empty(t, s.calls())
		require.ErrorContains(t, e.Status().LastError, "forbidden")
		require.Equal(t, ReasonOutputFailed, ReasonOf(e.Status().LastError))
		requireProbes(t, e, 503, 503, 200)

		b.spoil(func(b *board) { b.fault = nil })
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.Equal(t, "token-1", b.published())
		require.NoError(t, e.Status().LastError)
		requireProbes(t, e, 200, 200, 200)
	})
}

// An output that fails while the token is good is told, and is no reason to ask.
func TestAnOutputThatFailsForAWhileIsToldAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, b := newServer(time.Hour, false), &board{}
		e := sharing(s, b)
		go e.Run(t.Context())
		time.Sleep(time.Minute)
		b.spoil(func(b *board) { b.fault = errors.New("no answer in time") })
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		require.ErrorContains(t, e.Status().LastError, "no answer in time")
		require.Equal(t, int64(1), e.Status().Failures[ReasonOutputFailed])
		requireProbes(t, e, 200, 200, 200)

		b.spoil(func(b *board) { b.fault = nil })
		time.Sleep(time.Minute)
		synctest.Wait()
		require.NoError(t, e.Status().LastError)
		require.Len(t, s.calls(), 1)
	})
}

func TestAnOutputOfSomebodyElsesIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, b := newServer(10*time.Minute, false), &board{}
		e := sharing(s, b)
		go e.Run(t.Context())
		time.Sleep(time.Minute)
		foreign := &Held{Token: testToken("foreign", time.Hour)}
		b.spoil(func(b *board) { b.token, b.fault = foreign, fmt.Errorf("not marked: %w", ErrNotOurs) })
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, "foreign", b.published())
		require.Equal(t, 1, b.writes)
		require.Len(t, s.calls(), 1)
		requireProbes(t, e, 503, 503, 200)
	})
}

// An expired token is withdrawn once; one that cannot be is tried again with the
// pauses of any other failure.
func TestAnExpiredTokenThatCannotBeWithdrawnIsTriedWithPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, b := newServer(10*time.Minute, false), &board{}
		e := sharing(s, b)
		go e.Run(t.Context())
		time.Sleep(time.Minute)
		s.away.Store(true)
		b.mu.Lock()
		b.refuse = errors.New("no answer in time")
		b.mu.Unlock()
		time.Sleep(time.Hour) // a loop without pause would never get here
		synctest.Wait()
		require.Equal(t, "token-1", b.published())

		b.mu.Lock()
		b.refuse = nil
		b.mu.Unlock()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.Empty(t, b.published())
	})
}

// A token of another identity is replaced, and does not count as ours meanwhile.
func TestATokenOfAnotherIdentityIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, b := newServer(time.Hour, false), &board{}
		b.token = &Held{Token: testToken("foreign", time.Hour), Purpose: string(NewPurpose([]string{"other"}, nil).Identity())}
		e := sharing(s, b)
		require.NoError(t, e.Once(t.Context()))
		require.Equal(t, "token-1", b.published())
		require.Len(t, s.calls(), 1)
	})
}

// What Token returns is what readers have, or why they have nothing.
func TestTokenTellsWhatReadersHave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(10*time.Minute, true)
		e := &Engine{Source: s, Output: MemoryOutput{}, Logger: slog.New(slog.DiscardHandler)}
		_, err := e.Token()
		require.EqualError(t, err, "no token yet")
		go e.Run(t.Context())
		synctest.Wait()
		_, err = e.Token()
		require.ErrorIs(t, err, errAway)

		s.away.Store(false)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		token, err := e.Token()
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("token-%d", len(s.calls())), token.AccessToken)

		s.away.Store(true)
		time.Sleep(time.Hour)
		synctest.Wait()
		_, err = e.Token()
		require.ErrorIs(t, err, errAway, "an expired token is not handed out")
	})
}
