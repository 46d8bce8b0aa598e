// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/feed"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
)

// class says what a route needs of this replica before it answers
// (tokenserver.md 23 and 24).
type class int

const (
	// always: what is in the configuration and the keyring alone.
	always class = iota
	// cached: what is in memory, at most maxStale old. The token endpoint asks
	// for more where a grant needs it.
	cached
	// confirmed: what is in memory, known to be up to date.
	confirmed
)

// gate is the one rule about what is answered before the first load and while the
// database does not answer.
type gate struct {
	loaded   atomic.Bool
	follower *feed.Follower
	maxStale time.Duration
	now      func() time.Time
}

// check returns nil when a route of that class may answer, else an error that
// httpx.AsError words as 503.
func (g *gate) check(ctx context.Context, needs class) error {
	switch {
	case needs == always:
		return nil
	case !g.loaded.Load():
		return errNotLoaded
	case needs == confirmed:
		return g.follower.Confirm(ctx)
	case g.now().Sub(g.follower.Confirmed()) > g.maxStale:
		return g.follower.Confirm(ctx)
	}
	return nil
}

var errNotLoaded = func() *oauth.Error {
	failure := oauth.Errorf(oauth.CodeTemporarilyUnavailable, "the server is starting, try again")
	failure.RetryAfter = httpx.RetryAfter
	return failure
}()

// guarded is a router whose handlers stand behind the gate.
type guarded struct {
	router *router
	gate   *gate
	needs  class
	// refuse answers in the way of the endpoint.
	refuse func(http.ResponseWriter, *http.Request, error)
}

func (g guarded) Handle(pattern string, handler http.Handler) {
	g.router.Handle(pattern, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := g.gate.check(r.Context(), g.needs); err != nil {
			g.refuse(w, r, err)
			return
		}
		handler.ServeHTTP(w, r)
	}))
}

func (g guarded) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	g.Handle(pattern, http.HandlerFunc(handler))
}

// route is an endpoint and what it needs.
type route struct {
	needs    class
	refuse   func(http.ResponseWriter, *http.Request, error)
	endpoint mountable
}

// asAPI refuses as the platform's own API does.
func (s *Server) asAPI(w http.ResponseWriter, r *http.Request, err error) {
	httpx.Fail(w, r, s.config.Logger, err)
}
