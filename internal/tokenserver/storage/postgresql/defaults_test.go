// SPDX-License-Identifier: Apache-2.0

package postgresql_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	testserver "connectedapps.dev/operator/internal/testenv/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage/storagetest"
)

// TestTheDefaultIsolationOfADatabaseChangesNothing: what takes a transaction states its
// own, and what is one statement alone is repeated.
func TestTheDefaultIsolationOfADatabaseChangesNothing(t *testing.T) {
	server := testserver.Shared(t)
	for _, level := range []string{"serializable", "repeatable read"} {
		t.Run(level, func(t *testing.T) {
			storagetest.Run(t, func(t *testing.T) storage.Storage {
				name, drop := server.Database(t, migrated(t))
				require.NoError(t, server.Exec(t.Context(), "postgres", `ALTER DATABASE `+name+` SET default_transaction_isolation = '`+level+`'`))
				return &temporary{openAt(t, server.URL(name)), drop}
			})
		})
	}
}

// TestADatabaseThatOnlyReadsIsNamed: whoever set that may not know that servers need
// to write.
func TestADatabaseThatOnlyReadsIsNamed(t *testing.T) {
	server := testserver.Shared(t)
	name, _ := server.Database(t, "")
	require.NoError(t, server.Exec(t.Context(), "postgres", `ALTER DATABASE `+name+` SET default_transaction_read_only = on`))
	_, err := postgresql.Open(t.Context(), options(t, server.URL(name)), storagetest.Epoch)
	require.ErrorIs(t, err, storage.ErrUnavailable)
	require.ErrorContains(t, err, "it only reads: a standby, or default_transaction_read_only is on")
}
