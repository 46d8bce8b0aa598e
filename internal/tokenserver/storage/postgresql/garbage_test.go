// SPDX-License-Identifier: Apache-2.0

package postgresql_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	testserver "connectedapps.dev/operator/internal/testenv/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage/storagetest"
)

// TestGarbageIsFoundByItsIndex: a batch costs the same however many rows are alive.
func TestGarbageIsFoundByItsIndex(t *testing.T) {
	server := testserver.Shared(t)
	database, _ := server.Database(t, migrated(t))
	s := openAt(t, server.URL(database))
	app, err := s.CreateApp(t.Context(), storagetest.App(1))
	require.NoError(t, err)
	const alive = 20_000
	now, later := storagetest.Epoch, storagetest.Epoch.Add(time.Hour).UnixMicro()
	// Of every thousandth the time has come; of families every tenth was rotated since.
	fill := fmt.Sprintf(`DO $$ BEGIN
		INSERT INTO refresh_families (id, nonce, generation, client_id, user_id, org_id, scopes, auth_time, session_id, created_at, rotated_at, expires_at, revoked_at, collect_at)
			SELECT i::text, 'n', 1, '%[1]s', 'u', 'o', '[]', 0, 's', 0, 0, CASE i %% 1000 WHEN 0 THEN 1 ELSE %[2]d END, 0, CASE i %% 10 WHEN 0 THEN 1 ELSE %[2]d END
			FROM generate_series(1, %[3]d) i;
		INSERT INTO used_assertions SELECT 'app', i::text, CASE i %% 1000 WHEN 0 THEN 1 ELSE %[2]d END FROM generate_series(1, %[3]d) i;
		INSERT INTO opaque_tokens SELECT i::text::bytea, '%[1]s', '{}', CASE i %% 1000 WHEN 0 THEN 1 ELSE %[2]d END FROM generate_series(1, %[3]d) i;
		INSERT INTO revocations SELECT 'jti', i::text, 0, CASE i %% 1000 WHEN 0 THEN 1 ELSE %[2]d END FROM generate_series(1, %[3]d) i;
	END $$`, app.ClientID, later, alive)
	require.NoError(t, server.Exec(t.Context(), database, fill))
	require.NoError(t, server.Exec(t.Context(), database, `ANALYZE`))
	const batch = 5
	gone := map[string]int{}
	for range 2 + alive/1000/batch {
		batch, err := s.CollectGarbage(t.Context(), now, batch)
		require.NoError(t, err)
		for table, n := range batch {
			gone[table] += n
		}
	}
	for _, table := range []string{"refresh_families", "used_assertions", "opaque_tokens", "revocations"} {
		require.Equal(t, alive/1000, gone[table], table)
	}
	require.NoError(t, s.Close()) // what a connection has counted is known at its end
	conn, err := server.Connect(t.Context(), database)
	require.NoError(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	var deleted, read int
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		err := conn.QueryRow(t.Context(), `SELECT sum(n_tup_del), sum(seq_tup_read) FROM pg_stat_user_tables
			WHERE relname IN ('refresh_families', 'used_assertions', 'opaque_tokens', 'revocations')`).Scan(&deleted, &read)
		assert.NoError(c, err)
		assert.Equal(c, 4*alive/1000, deleted)
	}, 10*time.Second, 10*time.Millisecond)
	require.Less(t, read, alive, "rows read without an index")
}
