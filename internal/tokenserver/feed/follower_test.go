// SPDX-License-Identifier: Apache-2.0

package feed_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
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
	// begun is who has begun an entry that is not committed.
	begun []string
}

func (p *playedFeed) Writers(context.Context) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.begun), nil
}

// writes sets who has begun an entry that is not committed.
func (p *playedFeed) writes(names ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun = names
}

func (p *playedFeed) Changes(_ context.Context, from int64) ([]storage.Change, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.polls++
	var changes []storage.Change
	for _, c := range p.inOrder() {
		if c.ID >= from {
			changes = append(changes, c)
		}
	}
	return changes, p.err
}

func (p *playedFeed) LatestChanges(_ context.Context, n int) ([]storage.Change, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.polls++
	all := p.inOrder()
	return all[max(0, len(all)-n):], p.err
}

func (p *playedFeed) inOrder() []storage.Change {
	return slices.SortedFunc(slices.Values(p.changes), func(a, b storage.Change) int { return cmp.Compare(a.ID, b.ID) })
}

func (p *playedFeed) add(id int64, kind storage.ChangeKind, key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changes = append(p.changes, storage.Change{ID: id, Kind: kind, Key: key, At: time.Now()})
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
		played.add(1, storage.ChangeApp, "a")
		time.Sleep(501 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, []string{"a"}, *keys)
		require.Less(t, time.Since(f.Confirmed()), time.Second)
		cancel()
		synctest.Wait()
		require.LessOrEqual(t, played.polls, 122)
	})
}

// TestAnEntryThatCommitsLateIsNotMissed has other changes before, beside and after it,
// as many as there are polls.
func TestAnEntryThatCommitsLateIsNotMissed(t *testing.T) {
	for name, c := range map[string]struct {
		after time.Duration
		// anew: everything is read anew for it
		anew bool
	}{
		"at once":                    {0, false},
		"after as long as most take": {10 * time.Second, false},
		"after as long as it may":    {14 * time.Second, false},
		"after a minute":             {time.Minute, true},
		"after ten minutes":          {10 * time.Minute, true},
	} {
		for silent, every := range map[string]int64{"beside many others": 1, "beside a few others": 50, "beside nobody": 1 << 40} {
			t.Run(name+" "+silent, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					played := &playedFeed{}
					f, keys := follow(played)
					reloads := 0
					f.Reload = func(context.Context) error { reloads++; return nil }
					id := int64(10)
					played.add(id, storage.ChangeApp, "known")
					require.NoError(t, f.Poll(t.Context()))
					reloads = 0
					pass := func(d time.Duration) {
						for range d / feed.DefaultInterval {
							time.Sleep(feed.DefaultInterval)
							if id++; id%every == 0 {
								played.add(id*2, storage.ChangeApp, "other")
							}
							require.NoError(t, f.Poll(t.Context()))
						}
					}
					pass(time.Minute)
					late := id*2 + 1
					played.writes("late")
					id++
					played.add(id*2, storage.ChangeApp, "early")
					pass(c.after)
					require.Zero(t, reloads)
					played.writes("another")
					played.add(late, storage.ChangeApp, "late")
					pass(time.Minute)
					require.Equal(t, c.anew, reloads == 1)
					require.Equal(t, !c.anew, slices.Contains(*keys, "late"))
				})
			})
		}
	}
}

func TestAnEntryThatCommitsAfterAnOutageIsNotMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		played := &playedFeed{}
		f, keys := follow(played)
		played.add(1, storage.ChangeApp, "known")
		require.NoError(t, f.Poll(t.Context()))
		played.writes("late")
		played.add(3, storage.ChangeApp, "early")
		require.NoError(t, f.Poll(t.Context()))
		played.fail(errors.New("no answer"))
		time.Sleep(10 * time.Minute)
		require.Error(t, f.Poll(t.Context()))
		played.fail(nil)
		require.NoError(t, f.Poll(t.Context()))
		played.writes()
		played.add(2, storage.ChangeApp, "late")
		require.NoError(t, f.Poll(t.Context()))
		require.NoError(t, f.Poll(t.Context()))
		require.Equal(t, []string{"early", "late"}, *keys)
	})
}

// TestALongFeedIsReadOnceThoseUnderWayHaveEnded starts a replica while a transaction
// has begun an entry that a thousand others came after.
func TestALongFeedIsReadOnceThoseUnderWayHaveEnded(t *testing.T) {
	for name, c := range map[string]struct {
		ends    time.Duration
		reloads int
	}{
		"one that ends soon":  {100 * time.Millisecond, 1},
		"one that takes long": {time.Hour, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				played := &playedFeed{}
				for id := int64(2); id <= 1500; id++ {
					played.add(id, storage.ChangeApp, "known")
				}
				f, _ := follow(played)
				reloads, known := 0, false
				f.Reload = func(context.Context) error {
					reloads++
					known = slices.ContainsFunc(played.copy(), func(change storage.Change) bool { return change.ID == 1 })
					return nil
				}
				played.writes("early")
				time.AfterFunc(c.ends, func() {
					played.add(1, storage.ChangeApp, "early")
					played.writes()
				})
				require.NoError(t, f.Poll(t.Context()))
				for end := time.Now().Add(2 * c.ends); time.Now().Before(end); time.Sleep(feed.DefaultInterval) {
					require.NoError(t, f.Poll(t.Context()))
				}
				require.True(t, known)
				require.Equal(t, c.reloads, reloads)
			})
		})
	}
}

func TestAnEntryThatCommitsAfterTheFirstPollIsNotMissed(t *testing.T) {
	for name, c := range map[string]struct{ known, late int64 }{
		"of a feed with many entries": {2000, 1500}, "of a young one": {10, 1}, "as the first": {2, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				played := &playedFeed{}
				for id := int64(1); id <= c.known; id++ {
					if id != c.late {
						played.add(id, storage.ChangeApp, "known")
					}
				}
				f, keys := follow(played)
				require.NoError(t, f.Poll(t.Context()))
				require.Empty(t, *keys, "they are read with everything")
				played.add(c.late, storage.ChangeApp, "late")
				require.NoError(t, f.Poll(t.Context()))
				require.Equal(t, []string{"late"}, *keys)
			})
		})
	}
}

// TestNoClockOfOthersMatters has a replica whose clock is wrong, or whose request
// took long.
func TestNoClockOfOthersMatters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		played := &playedFeed{}
		f, keys := follow(played)
		require.NoError(t, f.Poll(t.Context()))
		for i, wrong := range []time.Duration{-time.Hour, time.Hour, 0, -time.Minute} {
			played.add(int64(i+1), storage.ChangeApp, wrong.String())
			played.changes[i].At = time.Now().Add(wrong)
			time.Sleep(time.Minute)
			require.NoError(t, f.Poll(t.Context()))
		}
		require.Equal(t, []string{"-1h0m0s", "1h0m0s", "0s", "-1m0s"}, *keys)
	})
}

func TestAnotherFeedReadsEverythingAnew(t *testing.T) {
	change := func(id int64, key string) storage.Change {
		return storage.Change{ID: id, Kind: storage.ChangeApp, Key: key}
	}
	three := []storage.Change{change(1, "a"), change(2, "b"), change(3, "c")}
	for name, c := range map[string]struct {
		feed []storage.Change
		anew bool
	}{
		"the same":                         {three, false},
		"one more":                         {append(slices.Clone(three), change(4, "d")), false},
		"an older one":                     {three[:2], true},
		"an empty one":                     {nil, true},
		"an older one that went on":        {append(slices.Clone(three[:2]), change(3, "other"), change(4, "d")), true},
		"an older one that went far":       {append(slices.Clone(three[:2]), change(3, "c2"), change(400, "d")), true},
		"one whose entries are collected":  {[]storage.Change{change(70, "z")}, true},
		"an older one that lacks the last": {append(slices.Clone(three[:2]), change(4, "d")), true},
	} {
		for when, wait := range map[string]time.Duration{"at once": 0, "later": time.Minute} {
			t.Run(name+" "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					played := &playedFeed{}
					f, keys := follow(played)
					reloads := 0
					f.Reload = func(context.Context) error { reloads++; return nil }
					require.NoError(t, f.Poll(t.Context()))
					played.replace(three)
					for range 1 + wait/feed.DefaultInterval {
						time.Sleep(feed.DefaultInterval)
						require.NoError(t, f.Poll(t.Context()))
					}
					played.replace(c.feed)
					for range 3 {
						require.NoError(t, f.Poll(t.Context()))
					}
					want := 1 // at the first poll
					if c.anew {
						want++
					}
					require.Equal(t, want, reloads)
					*keys = nil
					next := int64(500)
					if len(c.feed) == 0 {
						next = 1
					}
					played.add(next, storage.ChangeApp, "next")
					require.NoError(t, f.Poll(t.Context()))
					require.Equal(t, []string{"next"}, *keys)
				})
			})
		}
	}
}

// TestAQuietFeedIsKnownAgain collects garbage as often as a server does, beside
// changes that come once in hours.
func TestAQuietFeedIsKnownAgain(t *testing.T) {
	now := time.Now()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "db"), now)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	store.Clock(func() time.Time { return now })
	f, _ := follow(store)
	f.Now = func() time.Time { return now }
	reloads := 0
	f.Reload = func(context.Context) error { reloads++; return nil }
	for n := range 10 {
		require.NoError(t, store.EndToken(t.Context(), storage.EndedToken{Kind: storage.EndedAccessToken, Key: fmt.Sprint(n), ExpiresAt: now}))
		// The entry is the last one seen for less than the overlap, or for more.
		for range 20 * n {
			now = now.Add(feed.DefaultInterval)
			require.NoError(t, f.Poll(t.Context()))
		}
		for range n {
			now = now.Add(20 * time.Minute)
			_, err := store.CollectGarbage(t.Context(), now, 10)
			require.NoError(t, err)
			require.NoError(t, f.Poll(t.Context()))
		}
	}
	require.Equal(t, 1, reloads, "at the first poll alone")
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
		played.add(1, storage.ChangeApp, "a")
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
		played.add(5, storage.ChangeApp, "the last of those that were collected")
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
			played.add(1000, storage.ChangeApp, "meanwhile")
			return nil
		}
		for id := range int64(100) {
			played.add(id, storage.ChangeApp, fmt.Sprint(id))
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
		played.add(1, storage.ChangeEnded, "jti 1")
		played.add(2, storage.ChangeApp, "a")
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
			played.add(id, storage.ChangeApp, "a")
		}
		played.add(50, "of a later release", "x")
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
