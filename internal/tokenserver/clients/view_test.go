// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
	"connectedapps.dev/operator/internal/tokenserver/storage/storagetest"
)

// TestAReloadForgetsWhatIsGone deletes an app while the view does not follow
// the change feed, as another replica would during an outage.
func TestAReloadForgetsWhatIsGone(t *testing.T) {
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "db"), storagetest.Epoch)
	require.NoError(t, err)
	defer func() { _ = store.Close() }()
	for n := range 3 {
		_, err := store.CreateApp(t.Context(), storagetest.App(n))
		require.NoError(t, err)
	}
	view := clients.New(store, directory.NewLive(directory.New(nil, nil)))
	require.NoError(t, view.Load(t.Context()))
	require.Equal(t, 3, view.Len())

	gone := storagetest.App(1).ClientID
	_, err = store.DeleteApp(t.Context(), gone, storagetest.Epoch)
	require.NoError(t, err)
	require.NoError(t, view.Load(t.Context()))
	_, found := view.App(gone)
	require.False(t, found, "a deleted app would go on getting tokens")
	require.Equal(t, 2, view.Len())
}
