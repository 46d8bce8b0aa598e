// SPDX-License-Identifier: Apache-2.0

package feed_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/feed"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// hangingFeed is a database that does not answer until it is let.
type hangingFeed struct {
	mu     sync.Mutex
	hangs  chan struct{}
	deaf   bool // does not even notice the deadline
	polls  int
	bounds []time.Duration
}

func (*hangingFeed) Writers(context.Context) ([]string, error) { return nil, nil }

func (h *hangingFeed) LatestChanges(ctx context.Context, _ int) ([]storage.Change, error) {
	return h.Changes(ctx, 0)
}

func (h *hangingFeed) Changes(ctx context.Context, _ int64) ([]storage.Change, error) {
	h.mu.Lock()
	h.polls++
	hangs, deaf := h.hangs, h.deaf
	if deadline, ok := ctx.Deadline(); ok {
		h.bounds = append(h.bounds, time.Until(deadline))
	}
	h.mu.Unlock()
	if hangs == nil {
		return nil, nil
	}
	done := ctx.Done()
	if deaf {
		done = nil
	}
	select {
	case <-hangs:
		return nil, nil
	case <-done:
		return nil, ctx.Err()
	}
}

func (h *hangingFeed) hang(deaf bool) (release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	hangs := make(chan struct{})
	h.hangs, h.deaf = hangs, deaf
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		close(hangs)
		h.hangs = nil
	}
}

func (h *hangingFeed) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.polls
}

// took is for how long Confirm kept a request waiting, and what it said.
func took(ctx context.Context, f *feed.Follower) (time.Duration, error) {
	begin := time.Now()
	err := f.Confirm(ctx)
	return time.Since(begin), err
}

func TestARequestPollsItselfWhenTheLastPollIsTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &hangingFeed{}
		f, _ := follow(store)
		require.NoError(t, f.Confirm(t.Context()), "also before any other poll")
		require.Equal(t, 1, store.count())
		time.Sleep(feed.StaleAfter)
		require.NoError(t, f.Confirm(t.Context()))
		require.Equal(t, 1, store.count(), "young enough")
		time.Sleep(time.Millisecond)
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() { assert.NoError(t, f.Confirm(t.Context())) })
		}
		all.Wait()
		require.Equal(t, 2, store.count(), "one poll serves all who wait")
		require.LessOrEqual(t, store.bounds[0], feed.DefaultTimeout, "every poll has a deadline")
	})
}

func TestWhileAPollHangsNobodyWaitsLong(t *testing.T) {
	for name, deaf := range map[string]bool{"a poll that minds its deadline": false, "a poll that does not": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &hangingFeed{}
				f, _ := follow(store)
				require.NoError(t, f.Poll(t.Context()))
				release := store.hang(deaf)
				time.Sleep(2 * time.Second)
				for i := range 5 {
					d, err := took(t.Context(), f)
					require.ErrorIs(t, err, feed.ErrStale)
					require.ErrorIs(t, err, storage.ErrUnavailable)
					if i < 2 {
						require.Equal(t, time.Second, d, "the first polls, and both give up on that")
					} else {
						require.Zero(t, d, "nobody waits for a poll that has taken so long already")
					}
				}
				require.Equal(t, 2, store.count(), "and nobody begins another")
				release()
				time.Sleep(feed.DefaultInterval) // the poll may have failed just before
				d, err := took(t.Context(), f)
				require.NoError(t, err)
				require.Zero(t, d)
			})
		})
	}
}

// TestASlowPollRefusesNobody: on a busy machine a poll takes long, and those who come
// meanwhile would be refused all at once.
func TestASlowPollRefusesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &hangingFeed{}
		f, _ := follow(store)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go f.Run(ctx)
		require.NoError(t, f.Poll(t.Context()))
		var all sync.WaitGroup
		for range 10 {
			time.Sleep(feed.DefaultInterval + time.Millisecond)
			release := store.hang(false) // at the next poll
			const polls = 1400 * time.Millisecond
			for range polls / (10 * time.Millisecond) {
				time.Sleep(10 * time.Millisecond)
				all.Go(func() { assert.NoError(t, f.Confirm(t.Context())) })
			}
			release()
			synctest.Wait()
		}
		all.Wait()
	})
}

func TestAfterAPollThatFailedRequestsAreRefusedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &playedFeed{}
		f, _ := follow(store)
		require.NoError(t, f.Poll(t.Context()))
		store.fail(errors.New("gone"))
		time.Sleep(2 * time.Second)
		for range 10 {
			d, err := took(t.Context(), f)
			require.ErrorIs(t, err, feed.ErrStale)
			require.Zero(t, d)
		}
		require.Equal(t, 2, store.polls, "one of them asked the database")
		store.fail(nil)
		require.ErrorIs(t, f.Confirm(t.Context()), feed.ErrStale, "until the next interval")
		time.Sleep(feed.DefaultInterval)
		require.NoError(t, f.Confirm(t.Context()))
	})
}

func TestACallerWhoHangsUpIsNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &hangingFeed{}
		f, _ := follow(store)
		require.NoError(t, f.Poll(t.Context()))
		release := store.hang(false)
		time.Sleep(2 * time.Second)
		ctx, hangUp := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, hangUp)
		d, err := took(ctx, f)
		require.Error(t, err)
		require.Equal(t, 100*time.Millisecond, d)
		release()
		synctest.Wait()
		require.NoError(t, f.Confirm(t.Context()), "the poll went on for everybody else")
		require.Equal(t, 2, store.count())
	})
}

func TestReadingEverythingAnewHasMoreTimeThanAPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := follow(&playedFeed{})
		f.Reload = func(ctx context.Context) error {
			select {
			case <-time.After(10 * time.Second): // many apps, a slow disk
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		require.NoError(t, f.Poll(t.Context()))
		time.Sleep(time.Hour)
		require.NoError(t, f.Poll(t.Context()))
		require.NoError(t, f.Confirm(t.Context()))
	})
}
