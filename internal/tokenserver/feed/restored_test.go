// SPDX-License-Identifier: Apache-2.0

package feed_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

func (p *playedFeed) replace(changes []storage.Change) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changes = slices.Clone(changes)
}

func (p *playedFeed) copy() []storage.Change {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.changes)
}

// TestADatabaseThatWentBackInTimeIsRecognised: others may have used the ids again
// that were lost, and nothing may have been written for long.
func TestADatabaseThatWentBackInTimeIsRecognised(t *testing.T) {
	for name, since := range map[string]func(played *playedFeed){
		"and stands still": func(*playedFeed) {},
		"and goes on from there": func(played *playedFeed) {
			for id := int64(2); id < 6; id++ {
				played.add(id, storage.ChangeApp, "of another time")
			}
		},
	} {
		for idle, pause := range map[string]time.Duration{"at once": time.Second, "long after the last change": 5 * time.Hour} {
			t.Run(name+" "+idle, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					played := &playedFeed{}
					f, keys := follow(played)
					var log strings.Builder
					f.Logger = slog.New(slog.NewTextHandler(&log, nil))
					broken, restored := true, 0
					f.Restored = func(context.Context) error {
						restored++
						if broken {
							return errors.New("disk on fire")
						}
						return nil
					}
					played.add(1, storage.ChangeApp, "old")
					backup := played.copy()
					played.add(2, storage.ChangeApp, "lost")
					require.NoError(t, f.Poll(t.Context()))
					for end := time.Now().Add(pause); time.Now().Before(end); time.Sleep(time.Minute) {
						require.NoError(t, f.Poll(t.Context()))
					}
					require.Empty(t, log.String())
					confirmed := f.Confirmed()

					played.replace(backup)
					since(played)
					time.Sleep(time.Second)
					require.ErrorContains(t, f.Poll(t.Context()), "disk on fire")
					require.Equal(t, confirmed, f.Confirmed(), "nothing is confirmed before all was read anew")
					broken = false
					require.NoError(t, f.Poll(t.Context()))
					require.NoError(t, f.Poll(t.Context()))
					require.Equal(t, 2, restored)
					require.Equal(t, 1, strings.Count(log.String(), "the database has gone back in time"))
					played.add(9, storage.ChangeApp, "news")
					require.NoError(t, f.Poll(t.Context()))
					require.Equal(t, "news", (*keys)[len(*keys)-1], "and it is followed from there")
				})
			})
		}
	}
}

// TestWhatThisProcessCommittedIsNotLost though nobody had read it before the database
// went back.
func TestWhatThisProcessCommittedIsNotLost(t *testing.T) {
	for name, known := range map[string]int{"of a feed with entries": 3, "of an empty feed": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				played := &playedFeed{}
				for id := range known {
					played.add(int64(id+1), storage.ChangeApp, "known")
				}
				f, keys := follow(played)
				var log strings.Builder
				f.Logger = slog.New(slog.NewTextHandler(&log, nil))
				restored := 0
				f.Restored = func(context.Context) error { restored++; return nil }
				require.NoError(t, f.Poll(t.Context()))
				played.fail(storage.ErrWentBack)
				require.ErrorIs(t, f.Poll(t.Context()), storage.ErrWentBack)
				played.fail(nil)
				require.NoError(t, f.Poll(t.Context()))
				require.Equal(t, 1, restored)
				require.Equal(t, 1, strings.Count(log.String(), "the database has gone back in time"))
				played.add(int64(known+1), storage.ChangeApp, "news")
				require.NoError(t, f.Poll(t.Context()))
				require.Equal(t, []string{"news"}, *keys)
			})
		})
	}
}
