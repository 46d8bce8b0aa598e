// SPDX-License-Identifier: Apache-2.0

package tokenservertest

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver"
)

// starting is what brings a server's memory up.
type starting int

const (
	loaded starting = iota
	notLoaded
	running
)

// WithoutLoad serves without having loaded anything, as every process does at
// first; Server.Load is left to the test.
func WithoutLoad() Option { return func(o *options) { o.starting = notLoaded } }

// WithRun serves from before the first load, which Server.Run does in the
// background with all else that goes on beside requests, until the test ends.
func WithRun() Option { return func(o *options) { o.starting = running } }

// load does what o says before the first request is served.
func load(t testing.TB, server *tokenserver.Server, how starting) {
	switch how {
	case loaded:
		require.NoError(t, server.Load(t.Context()))
	case running:
		ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		var done sync.WaitGroup
		done.Go(func() { server.Run(ctx) })
		t.Cleanup(func() {
			cancel()
			done.Wait()
		})
	}
}
