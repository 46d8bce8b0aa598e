// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/registrar"
)

const minute = time.Minute

func named(name string) registrar.Fields { return registrar.Fields{ClientName: &name} }

func ids(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("app-%04d", i)
	}
	return list
}

func TestAResyncReadsWhatChangedAndListsTheRest(t *testing.T) {
	all := ids(1000)
	s, c := newServer(all...), newClock()
	i := inventory.New(s, inventory.Options{Revision: true, PageSize: 100, Now: c.Now})
	look := func() (lists, reads int) {
		listsBefore, readsBefore := s.calls()
		for _, id := range all {
			app, err := i.App(t.Context(), id, minute)
			require.NoError(t, err)
			require.Equal(t, id, app.ClientID)
			require.Empty(t, app.ClientSecret, "a secret is not kept")
		}
		listsAfter, readsAfter := s.calls()
		return listsAfter - listsBefore, readsAfter - readsBefore
	}
	lists, reads := look()
	require.Equal(t, [2]int{0, 2000}, [2]int{lists, reads}, "at first each app and its scopes are read")
	lists, reads = look()
	require.Zero(t, lists+reads, "what was read within the minute is known")

	c.advance(2 * minute)
	lists, reads = look()
	require.Equal(t, [2]int{10, 0}, [2]int{lists, reads}, "one call per hundred apps")

	c.advance(2 * minute)
	s.change(all[7], "changed by somebody")
	lists, reads = look()
	require.Equal(t, [2]int{10, 2}, [2]int{lists, reads}, "only what changed is read")
	app, err := i.App(t.Context(), all[7], minute)
	require.NoError(t, err)
	require.Equal(t, "changed by somebody", app.ClientName)
	require.Equal(t, "changed by somebody", app.ContextScopes[0].Scope)
}

func TestAServerWithoutRevisionsIsReadSingly(t *testing.T) {
	s, c := newServer("a"), newClock()
	i := inventory.New(s, inventory.Options{Now: c.Now})
	for range 3 {
		c.advance(2 * minute)
		_, err := i.App(t.Context(), "a", minute)
		require.NoError(t, err)
	}
	lists, reads := s.calls()
	require.Equal(t, [2]int{0, 6}, [2]int{lists, reads})
}

func TestAbsenceIsConfirmedByTheServer(t *testing.T) {
	s, c := newServer("a", "b"), newClock()
	s.omit = func(id string) bool { return id == "a" }
	i := inventory.New(s, inventory.Options{Revision: true, Now: c.Now})
	for range 2 {
		app, err := i.App(t.Context(), "a", minute)
		require.NoError(t, err, "missing in a list is not gone")
		require.Equal(t, "a", app.ClientID)
		c.advance(2 * minute)
	}
	s.remove("a")
	_, err := i.App(t.Context(), "a", minute)
	require.True(t, registrar.IsNotFound(err))
	s.change("a", "back")
	app, err := i.App(t.Context(), "a", minute)
	require.NoError(t, err)
	require.Equal(t, "back", app.ClientName)
}

func TestAFailedWriteVoidsWhatWasRead(t *testing.T) {
	s := newServer("a")
	i := inventory.New(s, inventory.Options{Revision: true})
	_, err := i.App(t.Context(), "a", minute)
	require.NoError(t, err)
	s.setFail(&registrar.Error{Op: "updating the app", Reason: registrar.ReasonTimeout})
	_, err = i.Update(t.Context(), "a", named("late"))
	require.Error(t, err)
	s.setFail(nil)
	s.change("a", "late") // the lost request arrived after all
	app, err := i.App(t.Context(), "a", minute)
	require.NoError(t, err)
	require.Equal(t, "late", app.ClientName)
}

// TestNothingOlderThanAsked plays random changes by us and by others, at random
// times, with lists that lose rows, and looks at the apps in between.
func TestNothingOlderThanAsked(t *testing.T) {
	background := t.Context()
	rapid.Check(t, func(t *rapid.T) {
		all := ids(4)
		s, c := newServer(all...), newClock()
		s.omit = func(string) bool { return rapid.IntRange(0, 3).Draw(t, "omit") == 0 }
		i := inventory.New(s, inventory.Options{
			Revision: rapid.Bool().Draw(t, "revision"), PageSize: rapid.IntRange(1, 5).Draw(t, "page size"), Now: c.Now,
		})
		type fact struct {
			name  string // "": not there
			until time.Time
		}
		now := map[string]string{}   // what is
		was := map[string][]fact{}   // what was, until when
		wrote := map[string]string{} // what we wrote last, while nobody else changed it
		for _, id := range all {
			now[id] = "first"
		}
		set := func(id, name string) {
			was[id] = append(was[id], fact{now[id], c.Now()})
			now[id] = name
		}
		serial := 0
		next := func() string { serial++; return fmt.Sprint("name-", serial) }
		pick := rapid.SampledFrom(all)
		t.Repeat(map[string]func(*rapid.T){
			"time passes": func(t *rapid.T) { c.advance(time.Duration(rapid.IntRange(1, 90).Draw(t, "seconds")) * time.Second) },
			"somebody changes an app": func(t *rapid.T) {
				id, name := pick.Draw(t, "id"), next()
				s.change(id, name)
				set(id, name)
				delete(wrote, id)
			},
			"somebody deletes an app": func(t *rapid.T) {
				id := pick.Draw(t, "id")
				s.remove(id)
				set(id, "")
				delete(wrote, id)
			},
			"we change an app": func(t *rapid.T) {
				id, name := pick.Draw(t, "id"), next()
				_, err := i.Update(background, id, named(name))
				require.NoError(t, err)
				set(id, name)
				was[id] = nil // nothing older counts any more
				wrote[id] = name
			},
			"we look": func(t *rapid.T) {
				id := pick.Draw(t, "id")
				age := time.Duration(rapid.SampledFrom([]int{0, 30, 60}).Draw(t, "age")) * time.Second
				app, err := i.App(background, id, age)
				if registrar.IsNotFound(err) {
					require.Empty(t, now[id], "an app that is there was reported gone")
					return
				}
				require.NoError(t, err)
				allowed := []string{now[id]}
				for _, f := range was[id] {
					if c.Now().Sub(f.until) < age {
						allowed = append(allowed, f.name)
					}
				}
				require.Contains(t, allowed, app.ClientName)
				require.Equal(t, app.ClientName, app.ContextScopes[0].Scope, "the parts are of one time")
				if want, ok := wrote[id]; ok {
					require.Equal(t, want, app.ClientName, "older than our last write")
				}
			},
		})
	})
}

// TestManyAtOnceSeeTheirOwnWrites has every goroutine write and look at one app
// while lists of all are made.
func TestManyAtOnceSeeTheirOwnWrites(t *testing.T) {
	all := ids(16)
	s := newServer(all...)
	i := inventory.New(s, inventory.Options{Revision: true, PageSize: 3, Calls: 4})
	var group sync.WaitGroup
	for _, id := range all {
		group.Go(func() {
			for n := range 200 {
				name := fmt.Sprint(id, " ", n)
				if _, err := i.Update(t.Context(), id, named(name)); err != nil {
					t.Error(err)
					return
				}
				for _, age := range []time.Duration{time.Nanosecond, time.Hour} {
					app, err := i.App(t.Context(), id, age)
					if err != nil || app.ClientName != name {
						t.Errorf("got %v, %v after writing %s", app, err, name)
						return
					}
				}
			}
		})
	}
	group.Wait()
}

func TestOneListServesAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer("a", "b", "c")
		slow := &slowLists{server: s, release: make(chan struct{})}
		i := inventory.New(slow, inventory.Options{Revision: true})
		for _, id := range []string{"a", "b", "c"} {
			_, err := i.App(t.Context(), id, minute)
			require.NoError(t, err)
		}
		time.Sleep(2 * minute)
		impatient, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() {
			_, err := i.App(impatient, "a", minute)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
		synctest.Wait()
		for _, id := range []string{"b", "c"} {
			group.Go(func() {
				if _, err := i.App(t.Context(), id, minute); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		cancel() // the first to ask goes away; the others get their list
		synctest.Wait()
		close(slow.release)
		group.Wait()
		lists, _ := s.calls()
		require.Equal(t, 1, lists)
	})
}

// slowLists holds back lists until released.
type slowLists struct {
	*server
	release chan struct{}
}

func (s *slowLists) List(ctx context.Context, offset, limit int) (*registrar.Page, error) {
	<-s.release
	return s.server.List(ctx, offset, limit)
}

func TestCallsAtATimeAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counting := &countingReads{server: newServer(ids(20)...)}
		i := inventory.New(counting, inventory.Options{Calls: 3})
		var group sync.WaitGroup
		for _, id := range ids(20) {
			group.Go(func() { _, _ = i.App(t.Context(), id, 0) })
		}
		group.Wait()
		require.Equal(t, 3, counting.most)
	})
}

type countingReads struct {
	*server
	now, most int
}

func (s *countingReads) Read(ctx context.Context, id string) (*oauth.ConnectedApp, error) {
	s.mu.Lock()
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	time.Sleep(time.Second)
	s.mu.Lock()
	s.now--
	s.mu.Unlock()
	return s.server.Read(ctx, id)
}

func TestAReadingThatAWriteOvertookIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer("a")
		slow := &slowScopes{server: s, release: make(chan struct{})}
		i := inventory.New(slow, inventory.Options{Revision: true})
		var group sync.WaitGroup
		group.Go(func() { _, _ = i.App(t.Context(), "a", minute) })
		synctest.Wait() // the app is read, its scopes are not yet
		_, err := i.Update(t.Context(), "a", named("ours"))
		require.NoError(t, err)
		close(slow.release)
		group.Wait()
		app, err := i.App(t.Context(), "a", minute)
		require.NoError(t, err)
		require.Equal(t, "ours", app.ClientName)
	})
}

// slowScopes holds back the second half of a reading until released.
type slowScopes struct {
	*server
	release chan struct{}
}

func (s *slowScopes) Scopes(ctx context.Context, id string) ([]oauth.ContextScope, error) {
	<-s.release
	return s.server.Scopes(ctx, id)
}

// What was registered and not recorded is found at once, not when the list that
// is from before has become old.
func TestARegistrationThatWasNotRecordedIsFound(t *testing.T) {
	s, c := newServer(), newClock()
	i := inventory.New(s, inventory.Options{Now: c.Now})
	found, err := i.Named(t.Context(), "temporary", minute)
	require.NoError(t, err)
	require.Empty(t, found)
	answer, err := i.Register(t.Context(), "", named("temporary"))
	require.NoError(t, err)
	i.Doubt("temporary")
	found, err = i.Named(t.Context(), "temporary", minute)
	require.NoError(t, err)
	require.Equal(t, []string{answer.App.ClientID}, found)
}
