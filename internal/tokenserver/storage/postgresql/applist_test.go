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

// TestAPageOfAppsReadsNoOthers: neither to count all of them nor to pass over those of
// the pages before. An app is some kilobytes long.
func TestAPageOfAppsReadsNoOthers(t *testing.T) {
	server := testserver.Shared(t)
	database, _ := server.Database(t, migrated(t))
	s := openAt(t, server.URL(database))
	app, err := s.CreateApp(t.Context(), storagetest.App(1))
	require.NoError(t, err)
	const apps, ofPage, pages = 5000, 10, 5
	require.NoError(t, server.Exec(t.Context(), database, fmt.Sprintf(`INSERT INTO apps
		(client_id, org_id, config, created_at, updated_at, revision, search, document)
		SELECT client_id || i, org_id, config, created_at + i, updated_at, revision, search, document FROM apps, generate_series(2, %d) i`, apps)))
	// As later, by itself: what is not on disk yet, a vacuum leaves alone.
	for _, statement := range []string{`CHECKPOINT`, `VACUUM ANALYZE apps`} {
		require.NoError(t, server.Exec(t.Context(), database, statement))
	}
	for n := range pages {
		page, total, err := s.Apps(t.Context(), storage.AppQuery{OrgID: app.OrgID, Limit: ofPage, Offset: apps * n / pages})
		require.NoError(t, err)
		require.Len(t, page, ofPage)
		require.Equal(t, apps, total)
	}
	require.NoError(t, s.Close()) // what a connection has counted is known at its end
	conn, err := server.Connect(t.Context(), database)
	require.NoError(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	var inserted, read int
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		err := conn.QueryRow(t.Context(), `SELECT n_tup_ins, seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'apps'`).Scan(&inserted, &read)
		assert.NoError(c, err)
		assert.Equal(c, apps, inserted)
		assert.GreaterOrEqual(c, read, pages*ofPage)
	}, 10*time.Second, 10*time.Millisecond)
	require.Less(t, read, apps/2, "apps that were read")
}
