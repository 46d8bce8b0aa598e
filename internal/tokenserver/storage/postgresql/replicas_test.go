// SPDX-License-Identifier: Apache-2.0

package postgresql_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	testserver "connectedapps.dev/operator/internal/testenv/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/feed"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage/storagetest"
)

func TestReplicasThatStartAtOnceMakeOneDatabase(t *testing.T) {
	server := testserver.Shared(t)
	for name, url := range map[string]func(string) string{"directly": server.URL, "through pgbouncer": testserver.SharedBouncer(t).URL} {
		t.Run(name, func(t *testing.T) {
			database, _ := server.Database(t, "")
			ids := make([]string, 5)
			o := options(t, url(database))
			var all sync.WaitGroup
			for i := range ids {
				all.Go(func() {
					s, err := postgresql.Open(t.Context(), o, storagetest.Epoch)
					if err != nil {
						t.Error(err)
						return
					}
					ids[i], err = s.InstallationID(t.Context())
					assert.NoError(t, errors.Join(err, s.Close()))
				})
			}
			all.Wait()
			for _, id := range ids {
				require.Equal(t, ids[0], id)
				require.NotEmpty(t, id)
			}
		})
	}
}

func TestAChangeThatCommitsLateIsFollowedOnce(t *testing.T) {
	server := testserver.Shared(t)
	database, _ := server.Database(t, migrated(t))
	s := openAt(t, server.URL(database))
	now, followed := storagetest.Epoch, []string{}
	follower := &feed.Follower{Store: s, Now: func() time.Time { return now }, Handlers: map[storage.ChangeKind]feed.Handler{
		storage.ChangeEnded: func(_ context.Context, key string) error { followed = append(followed, key); return nil },
	}}
	conn, err := server.Connect(t.Context(), database)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	late, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = late.Exec(t.Context(), `INSERT INTO changes (kind, name, at) VALUES ('ended', 'jti late', $1)`, now.UnixMicro())
	require.NoError(t, err)
	end := func(key string) {
		ended := storage.EndedToken{Kind: storage.EndedAccessToken, Key: key, ExpiresAt: now.Add(time.Hour)}
		require.NoError(t, s.EndToken(t.Context(), ended))
	}
	end("known")
	require.NoError(t, follower.Poll(t.Context()))
	end("first")
	require.NoError(t, follower.Poll(t.Context()))
	require.Equal(t, []string{"jti first"}, followed)
	now = now.Add(10 * time.Second)
	end("second")
	require.NoError(t, follower.Poll(t.Context()))
	require.NoError(t, late.Commit(t.Context()))
	now = now.Add(time.Second)
	require.NoError(t, follower.Poll(t.Context()))
	require.NoError(t, follower.Poll(t.Context()))
	require.Equal(t, []string{"jti first", "jti second", "jti late"}, followed)
}

// TestWhatWasCommittedAndIsGoneIsNoticed takes an entry away, as a failover to a copy
// does that was behind, before anybody has read it.
func TestWhatWasCommittedAndIsGoneIsNoticed(t *testing.T) {
	server := testserver.Shared(t)
	database, _ := server.Database(t, migrated(t))
	s, other := openAt(t, server.URL(database)), openAt(t, server.URL(database))
	end := func(s storage.Storage, key string) {
		require.NoError(t, s.EndToken(t.Context(), storage.EndedToken{Kind: storage.EndedAccessToken, Key: key, ExpiresAt: storagetest.Epoch}))
	}
	end(s, "there")
	end(other, "of another")
	changes, err := s.Changes(t.Context(), 0)
	require.NoError(t, err)
	require.Len(t, changes, 2)

	end(s, "there too")
	end(s, "gone")
	require.NoError(t, server.Exec(t.Context(), database, `DELETE FROM changes WHERE name = 'jti gone'`))
	_, err = other.Changes(t.Context(), 0)
	require.NoError(t, err, "who committed it is the only one to know")
	_, err = s.Changes(t.Context(), 0)
	require.ErrorIs(t, err, storage.ErrWentBack)
	_, err = s.Changes(t.Context(), 0)
	require.NoError(t, err, "once")

	end(s, "given anew")
	require.NoError(t, server.Exec(t.Context(), database, `UPDATE changes SET name = 'jti other' WHERE name = 'jti given anew'`))
	_, err = s.Changes(t.Context(), 0)
	require.ErrorIs(t, err, storage.ErrWentBack, "another entry has its id")

	end(s, "garbage")
	asleep := time.Now().Add(time.Hour)
	s.Clock(func() time.Time { return asleep })
	require.NoError(t, server.Exec(t.Context(), database, `DELETE FROM changes WHERE name = 'jti garbage'`))
	_, err = s.Changes(t.Context(), 0)
	require.NoError(t, err, "another server may have collected it meanwhile")

	_, err = s.CreateApp(t.Context(), storagetest.App(1))
	require.NoError(t, err)
	_, err = s.UpdateApp(t.Context(), storagetest.App(1).ClientID, storagetest.Epoch, func(a *storage.App) error {
		a.Enabled = false
		return errors.New("undone")
	})
	require.Error(t, err)
	_, err = s.Changes(t.Context(), 0)
	require.NoError(t, err, "what was undone is not missed")
}

func TestANewerSchemaIsRefusedWhenItSaysSo(t *testing.T) {
	server := testserver.Shared(t)
	database, _ := server.Database(t, migrated(t))
	require.NoError(t, server.Exec(t.Context(), database, `INSERT INTO goose_db_version VALUES (9000, 1)`))
	openAt(t, server.URL(database))
	require.NoError(t, server.Exec(t.Context(), database, `UPDATE installation SET oldest_schema = 9000`))
	_, err := postgresql.Open(t.Context(), options(t, server.URL(database)), storagetest.Epoch)
	require.ErrorIs(t, err, storage.ErrNewerSchema)
}

func TestOneReplicaCollectsGarbage(t *testing.T) {
	server := testserver.Shared(t)
	database, _ := server.Database(t, migrated(t))
	s := openAt(t, server.URL(database))
	require.NoError(t, s.EndToken(t.Context(), storage.EndedToken{Kind: storage.EndedAccessToken, Key: "t", ExpiresAt: storagetest.Epoch}))
	conn, err := server.Connect(t.Context(), database)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	other, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = other.Exec(t.Context(), `SELECT pg_advisory_xact_lock($1)`, int64(0x6361_7073_0002))
	require.NoError(t, err)
	for _, want := range []int{0, 1} {
		gone, err := s.CollectGarbage(t.Context(), storagetest.Epoch.Add(time.Hour), 10)
		require.NoError(t, err)
		require.Equal(t, want, gone["revocations"])
		_ = other.Rollback(t.Context())
	}
}

func TestWhatIsNoAnswerIsUnavailable(t *testing.T) {
	server := testserver.Shared(t)
	database, _ := server.Database(t, migrated(t))
	s := openAt(t, server.URL(database))
	_, err := s.CreateApp(t.Context(), storagetest.App(1))
	require.NoError(t, err)
	for _, command := range []string{
		`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`,
	} {
		require.NoError(t, server.Exec(t.Context(), database, command))
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			_, err := s.App(t.Context(), storagetest.App(1).ClientID)
			assert.NoError(c, err)
		}, 10*time.Second, 10*time.Millisecond, "without a restart")
	}
	o := options(t, server.URL(database))
	o.PasswordFile = options(t, "postgresql://u:wrong@h/d").PasswordFile
	_, err = postgresql.Open(t.Context(), o, storagetest.Epoch)
	require.ErrorIs(t, err, storage.ErrUnavailable)
	var refused *postgresql.RefusedError
	require.ErrorAs(t, err, &refused)
	require.NotContains(t, err.Error(), "wrong")
	require.NoError(t, server.Exec(t.Context(), "postgres", `ALTER DATABASE `+database+` ALLOW_CONNECTIONS false`))
	require.NoError(t, server.Exec(t.Context(), "postgres",
		`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '`+database+`'`))
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, err = s.App(t.Context(), storagetest.App(2).ClientID)
		assert.ErrorIs(c, err, storage.ErrUnavailable)
		assert.NotErrorIs(c, err, storage.ErrNotFound)
	}, 10*time.Second, 10*time.Millisecond)
}
