// SPDX-License-Identifier: Apache-2.0

package postgresql_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	testserver "connectedapps.dev/operator/internal/testenv/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/storagetest"
)

// TestARotationChangesNoIndex: the new version of a row stands beside the former (a
// heap-only tuple), so that a rotation writes one page and leaves nothing to vacuum.
func TestARotationChangesNoIndex(t *testing.T) {
	server := testserver.Shared(t)
	database, _ := server.Database(t, migrated(t))
	s := openAt(t, server.URL(database))
	_, err := s.CreateApp(t.Context(), storagetest.App(1))
	require.NoError(t, err)
	const families, rotations = 100, 5
	id := func(n int) string { return fmt.Sprint("family-", n) }
	for n := range families {
		code := storage.AuthorizationCode{Hash: []byte{byte(n)}, ClientID: storagetest.App(1).ClientID, ExpiresAt: storagetest.Epoch}
		require.NoError(t, s.CreateCode(t.Context(), code))
		_, err := s.RedeemCode(t.Context(), code.Hash, storagetest.Epoch, &storage.RefreshFamily{
			ID: id(n), Nonce: make([]byte, 16), Generation: 1, ClientID: code.ClientID, Scopes: []string{"profile", "offline_access"},
			CodeHash: code.Hash, ExpiresAt: storagetest.Epoch.Add(time.Hour),
		})
		require.NoError(t, err)
	}
	for generation := range int64(rotations) {
		now := storagetest.Epoch.Add(time.Duration(generation) * time.Minute)
		for n := range families {
			_, err := s.RotateFamily(t.Context(), id(n), storagetest.App(1).ClientID, generation+1, generation+2, now, now.Add(time.Hour))
			require.NoError(t, err)
		}
	}
	require.NoError(t, s.Close()) // what a connection has counted is known at its end
	conn, err := server.Connect(t.Context(), database)
	require.NoError(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	var updated, inPlace int
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		err := conn.QueryRow(t.Context(), `SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'refresh_families'`).Scan(&updated, &inPlace)
		assert.NoError(c, err)
		assert.Equal(c, families*rotations, updated)
	}, 10*time.Second, 10*time.Millisecond)
	require.GreaterOrEqual(t, inPlace, updated*9/10, "of %d", updated)
}
