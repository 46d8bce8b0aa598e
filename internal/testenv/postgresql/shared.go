// SPDX-License-Identifier: Apache-2.0

package postgresql

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

var shared = sync.OnceValues(func() (*Server, error) { return Start(context.Background(), Options{}) })

// Shared is the server of this test binary; it ends with it.
func Shared(t testing.TB) *Server {
	t.Helper()
	server, err := shared()
	require.NoError(t, err)
	return server
}

var sharedBouncer = sync.OnceValues(func() (*Bouncer, error) {
	server, err := shared()
	if err != nil {
		return nil, err
	}
	return server.StartBouncer(context.Background(), 4)
})

// SharedBouncer is a pgbouncer before Shared, with four connections to each
// database; it ends with the test binary.
func SharedBouncer(t testing.TB) *Bouncer {
	t.Helper()
	bouncer, err := sharedBouncer()
	require.NoError(t, err)
	return bouncer
}

var databases atomic.Int64

// Database makes a database, a copy of template or an empty one, and returns its
// name. drop removes it before the test ends; it may be called again.
func (s *Server) Database(t testing.TB, template string) (name string, drop func()) {
	t.Helper()
	name = fmt.Sprintf("test_%d", databases.Add(1))
	require.NoError(t, s.Create(t.Context(), name, template))
	drop = sync.OnceFunc(func() { _ = s.Drop(context.WithoutCancel(t.Context()), name) })
	t.Cleanup(drop)
	return name, drop
}

// Template makes a database that others are copied from, once for a name of
// letters: fill gets its URL and closes all it has opened.
func (s *Server) Template(t testing.TB, name string, fill func(url string) error) string {
	t.Helper()
	templates.Lock()
	defer templates.Unlock()
	name = "template_" + strings.ToLower(name)
	if templates.made[name] {
		return name
	}
	require.NoError(t, s.Create(t.Context(), name, ""))
	require.NoError(t, fill(s.URL(name)))
	templates.made[name] = true
	return name
}

var templates = struct {
	sync.Mutex
	made map[string]bool
}{made: map[string]bool{}}
