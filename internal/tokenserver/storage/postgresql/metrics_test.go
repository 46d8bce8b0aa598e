// SPDX-License-Identifier: Apache-2.0

package postgresql_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	testserver "connectedapps.dev/operator/internal/testenv/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/metrics"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage/storagetest"
)

func exposed(t *testing.T, registry *prometheus.Registry) string {
	t.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	return w.Body.String()
}

func waiting(t *testing.T, on *pgx.Conn, pid uint32) {
	t.Helper()
	require.Eventually(t, func() bool {
		var n int
		err := on.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks WHERE pid = $1 AND NOT granted`, pid).Scan(&n)
		return err == nil && n > 0
	}, 10*time.Second, time.Millisecond)
}

func TestADeadlockIsDoneAgainAndCountedAsAConflict(t *testing.T) {
	server := testserver.Shared(t)
	database, _ := server.Database(t, migrated(t))
	s := openAt(t, server.URL(database))
	registry := prometheus.NewRegistry()
	m, err := metrics.New(registry, "")
	require.NoError(t, err)
	s.Measure(m.StorageDone)
	app, err := s.CreateApp(t.Context(), storagetest.App(1))
	require.NoError(t, err)

	watcher, err := server.Connect(t.Context(), database)
	require.NoError(t, err)
	defer func() { _ = watcher.Close(context.WithoutCancel(t.Context())) }()
	other, err := server.Connect(t.Context(), database)
	require.NoError(t, err)
	defer func() { _ = other.Close(context.WithoutCancel(t.Context())) }()
	// Whoever looks for deadlocks first is the one that ends.
	_, err = other.Exec(t.Context(), `SET deadlock_timeout = '1min'; BEGIN; LOCK TABLE changes IN ACCESS EXCLUSIVE MODE`)
	require.NoError(t, err)
	runs, done := 0, make(chan error, 1)
	_, err = s.UpdateApp(t.Context(), app.ClientID, storagetest.Epoch, func(a *storage.App) error {
		a.Name = "another"
		if runs++; runs == 1 {
			go func() {
				_, err := other.Exec(context.WithoutCancel(t.Context()), `SELECT 1 FROM apps FOR UPDATE; COMMIT`)
				done <- err
			}()
			waiting(t, watcher, other.PgConn().PID())
		}
		return nil
	})
	require.NoError(t, err)
	require.NoError(t, <-done)
	require.GreaterOrEqual(t, runs, 2, "it may be faster than the other once more")
	assert.Contains(t, exposed(t, registry), fmt.Sprintf(`tokenserver_storage_conflicts_total{operation="insert changes"} %d`, runs-1))
	assert.NotContains(t, exposed(t, registry), "tokenserver_storage_errors_total{")
}

func TestAPoolThatIsUsedUpIsSeen(t *testing.T) {
	server := testserver.Shared(t)
	database, _ := server.Database(t, migrated(t))
	o := options(t, server.URL(database))
	o.MaxConnections = 1
	s, err := postgresql.Open(t.Context(), o, storagetest.Epoch)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	_, err = s.CreateApp(t.Context(), storagetest.App(1))
	require.NoError(t, err)
	before := s.Pools()
	require.Len(t, before, 1)
	require.Equal(t, "read_write", before[0].Name)
	require.Equal(t, 1, before[0].Limit)

	read := make(chan error, 1)
	_, err = s.UpdateApp(t.Context(), storagetest.App(1).ClientID, storagetest.Epoch, func(*storage.App) error {
		go func() {
			_, err := s.App(context.WithoutCancel(t.Context()), storagetest.App(1).ClientID)
			read <- err
		}()
		require.Eventually(t, func() bool { return s.Pools()[0].Waits > before[0].Waits }, 10*time.Second, time.Millisecond)
		require.Equal(t, 1, s.Pools()[0].InUse)
		require.Equal(t, 1, s.Pools()[0].Open)
		return nil
	})
	require.NoError(t, err)
	require.NoError(t, <-read)
	require.Greater(t, s.Pools()[0].Waited, before[0].Waited)
}
