// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/oauth"
)

// The last token of an app is often asked for when its client is gone already.
func TestADoubtAboutAnAppThatIsGoneIsForgotten(t *testing.T) {
	r := &Reconciler{doubted: make(chan event.GenericEvent, 1)}
	gone := types.NamespacedName{Namespace: "a", Name: "gone"}
	r.Doubt(gone)
	require.Len(t, r.doubted, 1)
	_, err := r.settleDeparted(t.Context(), gone, "")
	require.NoError(t, err)
	require.Empty(t, r.registered.doubts)
	r.registered.giveBackDoubt(gone)
	require.Empty(t, r.registered.doubts, "also while it is being read")
}

// brokenServer answers no read of a client, and counts them.
type brokenServer struct {
	inventory.API
	reads int
}

func (s *brokenServer) Read(context.Context, string) (*oauth.ConnectedApp, error) {
	s.reads++
	return nil, errors.New("connection reset")
}

// A doubt ends when the client was read, and not when somebody tried to.
func TestADoubtOutlivesAReadThatFails(t *testing.T) {
	server, r, s := &brokenServer{}, &Reconciler{doubted: make(chan event.GenericEvent, 1), ResyncInterval: time.Hour}, newSituation()
	s.connection = &inventory.Connection{Inventory: inventory.New(server, inventory.Options{})}
	r.registered.note(s.app, false)
	r.registered.compare(s.app, s.in.Now, s.connection.Inventory)
	require.NoError(t, r.observeServer(t.Context(), s.pass, true))
	require.Zero(t, server.reads, "it was compared a moment ago")

	r.Doubt(client.ObjectKeyFromObject(s.app))
	for n := range 2 {
		require.ErrorContains(t, r.observeServer(t.Context(), s.pass, true), "connection reset")
		require.Equal(t, n+1, server.reads)
	}
}
