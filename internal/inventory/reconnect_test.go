// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/inventory"
)

func TestWhoeverProbesIsToldOnceThatCallsFail(t *testing.T) {
	s, c := newServer("a"), newClock()
	told := 0
	i := inventory.New(s, inventory.Options{Now: c.Now, OnOpen: func() { told++ }})
	require.NoError(t, i.Trouble())
	s.setFail(down)
	for range 20 {
		_, _ = i.App(t.Context(), "a", 0)
	}
	require.Equal(t, 1, told)
	require.EqualError(t, i.Trouble(), down.Error())

	c.advance(time.Minute)
	_, _ = i.App(t.Context(), "a", 0)
	require.Equal(t, 1, told, "a trial that fails is no news")

	s.setFail(nil)
	c.advance(time.Minute)
	_, err := i.App(t.Context(), "a", 0)
	require.NoError(t, err)
	require.NoError(t, i.Trouble())

	i.Failed(down)
	require.Equal(t, 1, told, "whoever probes knows what the probe found")
}

func TestAnotherWayToTheServerCostsNoApp(t *testing.T) {
	s, c := newServer("a", "b"), newClock()
	before := inventory.New(s, inventory.Options{Revision: true, Now: c.Now})
	for _, id := range []string{"a", "b"} {
		_, err := before.App(t.Context(), id, time.Minute)
		require.NoError(t, err)
	}
	_, reads := s.calls()

	after := before.Through(s, inventory.Options{Revision: true, Now: c.Now})
	for _, id := range []string{"a", "b"} {
		_, err := after.App(t.Context(), id, time.Minute)
		require.NoError(t, err)
	}
	_, now := s.calls()
	require.Equal(t, reads, now)

	require.NoError(t, before.DeleteSecret(t.Context(), "a", "x"), "a write that was on its way")
	app, err := after.App(t.Context(), "a", time.Minute)
	require.NoError(t, err)
	require.Equal(t, "secret deleted", app.ClientName, "is seen on the new way as well")

	before.Failed(down)
	_, err = after.App(t.Context(), "b", 0)
	require.NoError(t, err, "trouble of the old way is not that of the new one")
}
