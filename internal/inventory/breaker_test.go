// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/registrar"
)

var down = &registrar.Error{Op: "reading the app", Reason: registrar.ReasonUnreachable, Message: "connection refused"}

func TestAServerThatKeepsFailingIsLeftInPeace(t *testing.T) {
	s, c := newServer("a"), newClock()
	i := inventory.New(s, inventory.Options{Now: c.Now})
	s.setFail(down)
	for range 20 {
		_, err := i.App(t.Context(), "a", 0)
		require.Equal(t, registrar.ReasonUnreachable, registrar.ReasonOf(err), "the reason stays while nobody asks")
	}
	_, reads := s.calls()
	require.Equal(t, 5, reads)
	_, err := i.App(t.Context(), "a", 0)
	require.EqualError(t, err, "reading the app: not asked again yet, after connection refused")
	require.Positive(t, registrar.RetryAfter(err))

	c.advance(2 * time.Second)
	_, err = i.App(t.Context(), "a", 0)
	require.EqualError(t, err, down.Error(), "one call tries")
	_, _ = i.App(t.Context(), "a", 0)
	_, reads = s.calls()
	require.Equal(t, 6, reads, "and opens it again")

	s.setFail(nil)
	c.advance(10 * time.Second)
	for range 3 {
		_, err = i.App(t.Context(), "a", 0)
		require.NoError(t, err)
	}
}

// Calls that were under way when it opened tell of the same trouble, and do not each
// double its delay.
func TestOneOutageOpensItOnce(t *testing.T) {
	b, now := &inventory.Breaker{}, time.Now()
	for range 16 {
		require.NoError(t, b.Allow(now))
	}
	for range 16 {
		b.Record(now, down)
	}
	require.Error(t, b.Allow(now))
	require.NoError(t, b.Allow(now.Add(time.Second)))
}

func TestOneCallTriesWhetherTheServerIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer("a")
		slow := &countingReads{server: s}
		i := inventory.New(slow, inventory.Options{})
		i.Failed(down)
		time.Sleep(time.Minute)
		var group sync.WaitGroup
		var refused atomic.Int32
		for range 10 {
			group.Go(func() {
				if _, err := i.App(t.Context(), "a", 0); err != nil {
					refused.Add(1)
				}
			})
		}
		group.Wait()
		require.EqualValues(t, 9, refused.Load())
		require.Equal(t, 1, slow.most)
	})
}

func TestRefusalsOfOneRequestAreNoTroubleOfTheServer(t *testing.T) {
	s := newServer()
	i := inventory.New(s, inventory.Options{})
	for range 20 {
		_, err := i.App(t.Context(), "missing", 0)
		require.True(t, registrar.IsNotFound(err))
	}
	_, reads := s.calls()
	require.Equal(t, 20, reads)
}

func TestAServerThatAsksForTimeGetsIt(t *testing.T) {
	s, c := newServer("a"), newClock()
	i := inventory.New(s, inventory.Options{Now: c.Now})
	s.setFail(&registrar.Error{Op: "reading the app", Reason: registrar.ReasonRateLimited, RetryAfter: time.Minute})
	_, err := i.App(t.Context(), "a", 0)
	require.Error(t, err)
	s.setFail(nil)
	c.advance(59 * time.Second)
	_, err = i.App(t.Context(), "a", 0)
	require.Equal(t, registrar.ReasonRateLimited, registrar.ReasonOf(err))
	c.advance(2 * time.Second)
	_, err = i.App(t.Context(), "a", 0)
	require.NoError(t, err)
}

// throttling has had enough of attempts to authenticate as one client.
type throttling struct{ *server }

func (throttling) Authenticates(context.Context, string, string) (bool, error) {
	return false, &registrar.Error{Op: "authenticating as the client", Reason: registrar.ReasonRateLimited, RetryAfter: 10 * time.Minute}
}

// Whoever has a namespace chooses which client an app tries to authenticate as, and
// how often: what the server says to that is not said to all others.
func TestAServerThatThrottlesOneClientIsAskedAboutOthers(t *testing.T) {
	i := inventory.New(throttling{newServer("a")}, inventory.Options{})
	for range 10 {
		_, err := i.Authenticates(t.Context(), "victim", "guess")
		require.Equal(t, registrar.ReasonRateLimited, registrar.ReasonOf(err))
		require.Equal(t, 10*time.Minute, registrar.RetryAfter(err))
	}
	_, err := i.App(t.Context(), "a", 0)
	require.NoError(t, err)
	require.NoError(t, i.Trouble())
}

func TestAProbeOpensAndClosesTheBreaker(t *testing.T) {
	s := newServer("a")
	i := inventory.New(s, inventory.Options{})
	i.Failed(down)
	_, err := i.App(t.Context(), "a", 0)
	require.Error(t, err)
	i.Recovered()
	_, err = i.App(t.Context(), "a", 0)
	require.NoError(t, err)
	i.Failed(&registrar.Error{Op: "x", Reason: registrar.ReasonNotFound})
	_, err = i.App(t.Context(), "a", 0)
	require.NoError(t, err, "a missing app is not the server's trouble")
}

// TestTheBreakerNeverStaysShut plays random failures: a server that is well
// again is used again within the longest delay, and one in trouble is asked
// little.
func TestTheBreakerNeverStaysShut(t *testing.T) {
	background := t.Context()
	rapid.Check(t, func(t *rapid.T) {
		s, c := newServer("a"), newClock()
		i := inventory.New(s, inventory.Options{Now: c.Now, Breaker: &inventory.Breaker{MaxDelay: 8 * time.Second}})
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				s.setFail(down)
			case 1:
				s.setFail(nil)
			case 2:
				ctx, cancel := context.WithCancel(background)
				cancel()
				_, _ = i.App(ctx, "a", 0)
			}
			_, _ = i.App(background, "a", 0)
			c.advance(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
		}
		s.setFail(down)
		_, before := s.calls()
		for range 600 {
			_, _ = i.App(background, "a", 0)
			c.advance(100 * time.Millisecond)
		}
		_, after := s.calls()
		require.LessOrEqual(t, after-before, 20, "a minute of trouble")
		s.setFail(nil)
		c.advance(8 * time.Second)
		_, err := i.App(background, "a", 0)
		require.NoError(t, err)
	})
}

func TestConnectionsTellWhoWaits(t *testing.T) {
	api, err := registrar.New(registrar.Config{URL: "https://id.example.com"})
	require.NoError(t, err)
	var connections inventory.Connections
	var told []string
	connections.OnChange(func(name string) { told = append(told, name) })
	_, ok := connections.Get("default")
	require.False(t, ok)
	connections.Set("default", &inventory.Connection{Client: api})
	_, ok = connections.Get("default")
	require.True(t, ok)
	connections.Notify("default")
	connections.Remove("default")
	_, ok = connections.Get("default")
	require.False(t, ok)
	connections.Remove("default")
	require.Equal(t, []string{"default", "default"}, told, "to be taken away is nothing to go on with")
}
