// SPDX-License-Identifier: Apache-2.0

package feed_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/feed"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
)

// playedFeed plays what a database does only under load: late commits, errors.
type playedFeed struct {
	mu      sync.Mutex
	changes []storage.Change
	err     error
	polls   int
}

func (p *playedFeed) Changes(_ context.Context, since time.Time) ([]storage.Change, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.polls++
	var changes []storage.Change
	for _, c := range p.changes {
		if !c.At.Before(since) {
			changes = append(changes, c)
		}
	}
	return changes, p.err
}

func (p *playedFeed) add(id int64, kind storage.ChangeKind, key string, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changes = append(p.changes, storage.Change{ID: id, Kind: kind, Key: key, At: at})
}

func (p *playedFeed) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

// follow returns a follower of app changes and the keys it was called with.
func follow(store storage.Feed) (*feed.Follower, *[]string) {
	var keys []string
	return &feed.Follower{
		Store:  store,
		Logger: slog.New(slog.DiscardHandler),
		Handlers: map[storage.ChangeKind]feed.Handler{
			storage.ChangeApp: func(_ context.Context, key string) error {
				keys = append(keys, key)
				return nil
			},
		},
	}, &keys
}

func TestAChangeOfTheDatabaseArrivesOnce(t *testing.T) {
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "db"), time.Now())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	f, keys := follow(store)
	require.NoError(t, f.Poll(t.Context()))

	now := time.Now()
	_, err = store.CreateApp(t.Context(), storage.App{
		ClientID: strings.Repeat("a", 32), OrgID: "org", Name: "app", CreatedAt: now, UpdatedAt: now,
	})
	require.NoError(t, err)
	for range 3 {
		require.NoError(t, f.Poll(t.Context()))
	}
	require.Equal(t, []string{strings.Repeat("a", 32)}, *keys)
}

func TestRunBringsAChangeWithinTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		played := &playedFeed{}
		f, keys := follow(played)
		ctx, cancel := context.WithCancel(t.Context())
		go f.Run(ctx)
		time.Sleep(time.Minute)
		played.add(1, storage.ChangeApp, "a", time.Now())
		time.Sleep(501 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, []string{"a"}, *keys)
		require.Less(t, time.Since(f.Confirmed()), time.Second)
		cancel()
		synctest.Wait()
		require.LessOrEqual(t, played.polls, 122)
	})
}

func TestAnEntryThatCommitsLateIsNotMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		played := &playedFeed{}
		f, keys := follow(played)
		require.NoError(t, f.Poll(t.Context()))
		written := time.Now()
		time.Sleep(time.Second)
		played.add(2, storage.ChangeApp, "early", time.Now())
		require.NoError(t, f.Poll(t.Context()))
		time.Sleep(9 * time.Second) // the longest a transaction may take
		require.NoError(t, f.Poll(t.Context()))
		played.add(1, storage.ChangeApp, "late", written)
		require.NoError(t, f.Poll(t.Context()))
		require.Equal(t, []string{"early", "late"}, *keys)
	})
}

func TestAnOutageLosesNoChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		played := &playedFeed{}
		f, keys := follow(played)
		reloads := 0
		f.Reload = func(context.Context) error { reloads++; return nil }
		require.NoError(t, f.Poll(t.Context()))
		before := f.Confirmed()

		played.fail(errors.New("connection refused"))
		time.Sleep(10 * time.Second)
		played.add(1, storage.ChangeApp, "a", time.Now())
		time.Sleep(10 * time.Minute)
		require.ErrorContains(t, f.Poll(t.Context()), "connection refused")
		require.Equal(t, before, f.Confirmed())

		played.fail(nil)
		require.NoError(t, f.Poll(t.Context()))
		require.Equal(t, []string{"a"}, *keys)
		require.Equal(t, time.Now(), f.Confirmed())
		require.Equal(t, 1, reloads, "at the first poll alone")
	})
}

func TestAnOutageLongerThanTheFeedKeepsEntriesReadsEverythingAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		played := &playedFeed{}
		f, _ := follow(played)
		reloads, broken := 0, false
		f.Reload = func(context.Context) error {
			if broken {
				return errors.New("still away")
			}
			reloads++
			return nil
		}
		require.NoError(t, f.Poll(t.Context()))
		require.Equal(t, 1, reloads, "the first")
		before := f.Confirmed()
		broken = true
		time.Sleep(time.Hour)
		require.ErrorContains(t, f.Poll(t.Context()), "still away")
		require.Equal(t, before, f.Confirmed(), "nothing is confirmed before it was read")
		broken = false
		require.NoError(t, f.Poll(t.Context()))
		require.NoError(t, f.Poll(t.Context()))
		require.Equal(t, 2, reloads)
	})
}

// TestTheFirstPollFollowsNothing starts a replica of an installation where much has
// changed lately: each change asks the database, and all of it is read anyway.
func TestTheFirstPollFollowsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		played := &playedFeed{}
		f, keys := follow(played)
		f.Handlers[storage.ChangeApp] = func(ctx context.Context, key string) error {
			select {
			case <-time.After(time.Second):
				*keys = append(*keys, key)
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		f.Reload = func(context.Context) error {
			played.add(1000, storage.ChangeApp, "meanwhile", time.Now())
			return nil
		}
		for id := range int64(100) {
			played.add(id, storage.ChangeApp, fmt.Sprint(id), time.Now())
		}
		require.NoError(t, f.Poll(t.Context()))
		require.Empty(t, *keys)
		require.NoError(t, f.Poll(t.Context()))
		require.Equal(t, []string{"meanwhile"}, *keys)
	})
}

func TestAFailedHandlerIsTriedAgainUntilItSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		played := &playedFeed{}
		f, keys := follow(played)
		broken := true
		f.Handlers[storage.ChangeEnded] = func(_ context.Context, key string) error {
			if broken {
				return errors.New("disk on fire")
			}
			*keys = append(*keys, key)
			return nil
		}
		require.NoError(t, f.Poll(t.Context()))
		begin := f.Confirmed()
		time.Sleep(time.Second)
		played.add(1, storage.ChangeEnded, "jti 1", time.Now())
		played.add(2, storage.ChangeApp, "a", time.Now())
		require.ErrorContains(t, f.Poll(t.Context()), "following a change of ended jti 1: disk on fire")
		require.Equal(t, []string{"a"}, *keys, "one failure does not hold up the others")
		require.Equal(t, begin, f.Confirmed())

		time.Sleep(5 * time.Minute) // far beyond the overlap
		require.Error(t, f.Poll(t.Context()))
		broken = false
		require.NoError(t, f.Poll(t.Context()))
		require.NoError(t, f.Poll(t.Context()))
		require.Equal(t, []string{"a", "jti 1"}, *keys)
	})
}

func TestManyChangesOfOneRecordAreHandledOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		played := &playedFeed{}
		f, keys := follow(played)
		require.NoError(t, f.Poll(t.Context()))
		for id := range int64(50) {
			played.add(id, storage.ChangeApp, "a", time.Now())
		}
		played.add(50, "of a later release", "x", time.Now())
		require.NoError(t, f.Poll(t.Context()))
		require.Equal(t, []string{"a"}, *keys)
	})
}

func TestTheLogTellsTheBeginningAndTheEndOfAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		played := &playedFeed{}
		f, _ := follow(played)
		var log strings.Builder
		f.Logger = slog.New(slog.NewTextHandler(io.Writer(&log), nil))
		played.fail(errors.New("connection refused"))
		for range 10 {
			require.Error(t, f.Poll(t.Context()))
		}
		played.fail(nil)
		for range 10 {
			require.NoError(t, f.Poll(t.Context()))
		}
		require.Equal(t, 1, strings.Count(log.String(), "connection refused"))
		require.Equal(t, 1, strings.Count(log.String(), "following the change feed again"))
	})
}
