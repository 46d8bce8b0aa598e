// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"context"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
	"connectedapps.dev/operator/internal/tokenserver/storage/storagetest"
)

// slow is a database whose answers travel for as long as a test wants.
type slow struct {
	storage.Storage
	travel func()
}

func (s *slow) App(ctx context.Context, clientID string) (storage.App, error) {
	app, err := s.Storage.App(ctx, clientID)
	s.travel()
	return app, err
}

// TestTheViewNeverGoesBack lets an answer travel while the app changes and is read
// again: what was read first must not replace what was read last.
func TestTheViewNeverGoesBack(t *testing.T) {
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "db"), storagetest.Epoch)
	require.NoError(t, err)
	defer func() { _ = store.Close() }()
	app, err := store.CreateApp(t.Context(), storagetest.App(1))
	require.NoError(t, err)
	rapid.Check(t, func(rt *rapid.T) {
		database := &slow{Storage: store, travel: func() {}}
		view := clients.New(database, directory.NewLive(directory.New(nil, nil)))
		require.NoError(rt, view.Load(t.Context()))
		write := func() int64 {
			after, err := store.UpdateApp(t.Context(), app.ClientID, storagetest.Epoch, func(a *storage.App) error {
				a.SecurityVersion++
				return nil
			})
			assert.NoError(t, err)
			return after.SecurityVersion
		}
		for range rapid.IntRange(1, 5).Draw(rt, "rounds") {
			var readers sync.WaitGroup
			var once sync.Once
			var last int64
			database.travel = func() {
				once.Do(func() {
					// While the first answer travels.
					last = write()
					readers.Go(func() { assert.NoError(t, view.Refresh(t.Context(), app.ClientID)) })
				})
			}
			readers.Go(func() { assert.NoError(t, view.Refresh(t.Context(), app.ClientID)) })
			readers.Wait()
			seen, ok := view.App(app.ClientID)
			require.True(rt, ok)
			require.Equal(rt, last, seen.SecurityVersion)
		}
	})
}
