// SPDX-License-Identifier: Apache-2.0

package postgresql_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	testserver "connectedapps.dev/operator/internal/testenv/postgresql"
)

func TestStatementsStayPreparedWhereNoPoolerIsInBetween(t *testing.T) {
	server := testserver.Shared(t)
	database, _ := server.Database(t, "")
	for name, row := range map[string]struct {
		url      string
		prepared int
	}{
		"directly":                         {server.URL(database), 1},
		"through pgbouncer":                {testserver.SharedBouncer(t).URL(database), 0},
		"directly, when the URL forbids":   {server.URL(database) + "&default_query_exec_mode=cache_describe", 0},
		"through pgbouncer, as the URL is": {testserver.SharedBouncer(t).URL(database) + "&default_query_exec_mode=exec", 0},
	} {
		t.Run(name, func(t *testing.T) {
			pool, err := options(t, row.url).Pool()
			require.NoError(t, err)
			defer func() { require.NoError(t, pool.Close()) }()
			conn, err := pool.Conn(t.Context())
			require.NoError(t, err)
			defer func() { require.NoError(t, conn.Close()) }()
			var answer int
			for range 2 {
				require.NoError(t, conn.QueryRowContext(t.Context(), `SELECT 41 + $1::int`, 1).Scan(&answer))
				require.Equal(t, 42, answer)
			}
			var prepared int
			require.NoError(t, conn.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_prepared_statements`).Scan(&prepared))
			require.Equal(t, row.prepared, prepared)
		})
	}
}
