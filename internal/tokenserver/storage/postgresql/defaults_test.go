// SPDX-License-Identifier: Apache-2.0

package postgresql_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	testserver "connectedapps.dev/operator/internal/testenv/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage/storagetest"
)

// TestTheDefaultIsolationOfADatabaseChangesNothing: what takes a transaction states its
// own, and what is one statement alone is repeated when it meets another.
func TestTheDefaultIsolationOfADatabaseChangesNothing(t *testing.T) {
	server := testserver.Shared(t)
	for _, level := range []string{"serializable", "repeatable read"} {
		t.Run(level, func(t *testing.T) {
			name, _ := server.Database(t, migrated(t))
			require.NoError(t, server.Exec(t.Context(), "postgres", `ALTER DATABASE `+name+` SET default_transaction_isolation = '`+level+`'`))
			s := openAt(t, server.URL(name))
			app, err := s.CreateApp(t.Context(), storagetest.App(1))
			require.NoError(t, err)
			const many = 10
			var all sync.WaitGroup
			var used atomic.Int64
			for n := range many {
				all.Go(func() {
					_, err := s.UpdateApp(t.Context(), app.ClientID, storagetest.Epoch, func(a *storage.App) error { a.Name += "x"; return nil })
					assert.NoError(t, err)
				})
				all.Go(func() {
					err := s.UseAssertion(t.Context(), app.ClientID, "jti", storagetest.Epoch.Add(time.Hour+time.Duration(n)*time.Second))
					if err == nil {
						used.Add(1)
					} else {
						assert.ErrorIs(t, err, storage.ErrAlreadyExists)
					}
				})
				all.Go(func() {
					assert.NoError(t, s.TouchSecrets(t.Context(), map[string]time.Time{app.Secrets[0].ID: storagetest.Epoch.Add(time.Minute)}))
				})
			}
			all.Wait()
			after, err := s.App(t.Context(), app.ClientID)
			require.NoError(t, err)
			require.Equal(t, app.Name+strings.Repeat("x", many), after.Name)
			require.EqualValues(t, 1, used.Load())
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
