// SPDX-License-Identifier: Apache-2.0

package postgresql_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	testserver "connectedapps.dev/operator/internal/testenv/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/feed"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/storagetest"
)

// insertEntry stands for a server's transaction.
const insertEntry = `INSERT INTO changes (kind, name, at) VALUES ('ended', 'jti ' || $1, 1)`

// TestACommitThatWaitsForALostStandbyIsFollowed: the server answers everybody meanwhile,
// for longer than any transaction takes, and the process that committed may be gone.
func TestACommitThatWaitsForALostStandbyIsFollowed(t *testing.T) {
	server, err := testserver.Start(t.Context(), testserver.Options{Durable: true})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, server.Stop()) })
	database, _ := server.Database(t, "")
	s := openAt(t, server.URL(database))
	now, reloads, followed := storagetest.Epoch, 0, []string{}
	follower := &feed.Follower{Store: s, Now: func() time.Time { return now },
		Reload: func(context.Context) error { reloads++; return nil },
		Handlers: map[storage.ChangeKind]feed.Handler{
			storage.ChangeEnded: func(_ context.Context, key string) error { followed = append(followed, key); return nil },
		}}
	poll := func() {
		t.Helper()
		now = now.Add(feed.DefaultInterval)
		require.NoError(t, follower.Poll(t.Context()))
	}
	local, err := server.Connect(t.Context(), database)
	require.NoError(t, err)
	defer func() { _ = local.Close(context.WithoutCancel(t.Context())) }()
	_, err = local.Exec(t.Context(), `SET synchronous_commit = local`)
	require.NoError(t, err)
	others := func(d time.Duration) {
		t.Helper()
		for range d / feed.DefaultInterval {
			_, err := local.Exec(t.Context(), insertEntry, "other")
			require.NoError(t, err)
			poll()
		}
	}
	set := func(standbys string) {
		t.Helper()
		require.NoError(t, server.Exec(t.Context(), "postgres", `ALTER SYSTEM SET synchronous_standby_names = '`+standbys+`'`))
		require.NoError(t, server.Exec(t.Context(), "postgres", `SELECT pg_reload_conf()`))
	}
	_, err = local.Exec(t.Context(), insertEntry, "known")
	require.NoError(t, err)
	poll()

	set("lost")
	defer set("")
	waits, err := server.Connect(t.Context(), database)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() {
		_, err := waits.Exec(context.WithoutCancel(t.Context()), insertEntry, "late")
		ended <- err
	}()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		var event string
		assert.NoError(c, local.QueryRow(t.Context(), `SELECT COALESCE(wait_event, '') FROM pg_stat_activity WHERE pid = $1`, waits.PgConn().PID()).Scan(&event))
		assert.Equal(c, "SyncRep", event)
	}, time.Minute, 10*time.Millisecond)
	others(40 * time.Second)
	require.NotContains(t, followed, "jti late", "it is not committed")
	require.Equal(t, 1, reloads)

	set("")
	require.NoError(t, <-ended)
	require.NoError(t, waits.Close(context.WithoutCancel(t.Context())))
	poll()
	require.Equal(t, 2, reloads, "everything is read anew")
	others(40 * time.Second)
	require.Equal(t, 2, reloads, "once")
}

// TestAFeedKnowsWhoWritesToIt also of those whom their client has left.
func TestAFeedKnowsWhoWritesToIt(t *testing.T) {
	server := testserver.Shared(t)
	database, _ := server.Database(t, migrated(t))
	s := openAt(t, server.URL(database))
	writers := func() int {
		t.Helper()
		found, err := s.Writers(t.Context())
		require.NoError(t, err)
		return len(found)
	}
	require.Zero(t, writers())
	other, _ := server.Database(t, migrated(t))
	for name, want := range map[string]int{database: 1, other: 0} {
		conn, err := server.Connect(t.Context(), name)
		require.NoError(t, err)
		tx, err := conn.Begin(t.Context())
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), `SELECT * FROM changes`)
		require.NoError(t, err)
		require.Zero(t, writers(), "it has only read")
		_, err = tx.Exec(t.Context(), insertEntry, "x")
		require.NoError(t, err)
		require.Equal(t, want, writers())
		require.NoError(t, tx.Rollback(t.Context()))
		require.Zero(t, writers())
		require.NoError(t, conn.Close(t.Context()))
	}
}
