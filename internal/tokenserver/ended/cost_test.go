// SPDX-License-Identifier: Apache-2.0

package ended_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"connectedapps.dev/operator/internal/tokenserver/ended"
	"connectedapps.dev/operator/internal/tokenserver/feed"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlstore"
	"connectedapps.dev/operator/internal/tokenserver/storage/storagetest"
)

// counted is a real database that keeps every statement it is given.
type counted struct {
	*sqlstore.Store
	db *sql.DB

	mu         sync.Mutex
	statements []string
}

func newCounted(t *testing.T) *counted {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "db")+"?_txlock=immediate&_pragma=foreign_keys(1)")
	require.NoError(t, err)
	db.SetMaxOpenConns(1)
	c := &counted{db: db}
	c.Store = sqlstore.New(db, db, sqlstore.Dialect{
		Strict: " STRICT", Identity: "INTEGER PRIMARY KEY AUTOINCREMENT", BigInt: "INTEGER", Text: "TEXT", Blob: "BLOB",
		Rebind: func(query string) string {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.statements = append(c.statements, query)
			return query
		},
	}, nil)
	require.NoError(t, c.Migrate(t.Context(), storagetest.Epoch))
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// of returns the statements of do.
func (c *counted) of(do func() error) ([]string, error) {
	c.mu.Lock()
	c.statements = nil
	c.mu.Unlock()
	err := do()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.statements, err
}

// fill makes so many tokens that have ended and not expired, and as many epochs.
func (c *counted) fill(t *testing.T, active int) {
	t.Helper()
	count := fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) `, active)
	until := storagetest.Epoch.Add(time.Hour).UnixMicro()
	for _, statement := range []string{
		count + fmt.Sprintf(`INSERT INTO revocations (kind, name, not_before, expires_at) SELECT 'jti', 'old-' || i, 0, %d FROM n`, until),
		count + `INSERT INTO epochs (kind, name, epoch) SELECT 'user', 'old-' || i, i FROM n`,
	} {
		_, err := c.db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
}

// cost is what one end costs, in statements and allocations.
type cost struct {
	statements map[string][]string
	allocs     map[string]float64
}

// costOf measures recording, following and checking beside so many active ends.
func costOf(t *testing.T, active int) cost {
	c, clock := newCounted(t), func() time.Time { return storagetest.Epoch }
	if active > 0 {
		c.fill(t, active)
	}
	one, other := ended.New(c, clock), ended.New(c, clock)
	follower := &feed.Follower{Store: c, Now: clock, Handlers: map[storage.ChangeKind]feed.Handler{
		storage.ChangeEpoch: other.FollowEpoch, storage.ChangeEnded: other.FollowEnded,
	}}
	require.NoError(t, follower.Poll(t.Context()))
	for _, l := range []*ended.Ledger{one, other} {
		require.NoError(t, l.Load(t.Context()))
		require.Equal(t, active, l.Active())
	}
	spent := cost{map[string][]string{}, map[string]float64{}}
	for what, do := range map[string]func() error{
		"ending a token":   func() error { return one.EndToken(t.Context(), "new", storagetest.Epoch.Add(time.Hour)) },
		"ending a family":  func() error { return one.EndFamily(t.Context(), "new") },
		"ending a user":    func() error { return one.EndUser(t.Context(), "new") },
		"ending a consent": func() error { return one.EndConsent(t.Context(), "new", "app") },
	} {
		recorded, err := c.of(do)
		require.NoError(t, err)
		followed, err := c.of(func() error { return follower.Poll(t.Context()) })
		require.NoError(t, err)
		spent.statements[what], spent.statements["following: "+what] = recorded, followed
	}
	alive := ended.Issued{Holder: ended.Holder{ClientID: "app", OrganizationID: "org", UserID: "u"}, ID: "t", GrantID: "g"}
	dead := alive
	dead.ID = "new"
	spent.allocs["what is alive"] = testing.AllocsPerRun(100, func() { require.NoError(t, other.Check(alive)) })
	spent.allocs["what has ended"] = testing.AllocsPerRun(100, func() { _ = other.Check(dead) })
	spent.allocs["following"] = testing.AllocsPerRun(20, func() { _ = other.FollowEnded(t.Context(), "jti new") })
	require.ErrorIs(t, other.Check(dead), ended.ErrEnded)
	return spent
}

// TestAnEndCostsTheSameHoweverManyThereAre compares a database in which nothing
// has ended with one of 20,000 ends.
func TestAnEndCostsTheSameHoweverManyThereAre(t *testing.T) {
	none, many := costOf(t, 0), costOf(t, 20_000)
	require.Equal(t, none.statements, many.statements)
	require.Zero(t, many.allocs["what is alive"], "a check is a few look-ups")
	// Under the race detector a sync.Pool forgets at random, so that the same work differs by an allocation.
	require.InDelta(t, none.allocs["what has ended"], many.allocs["what has ended"], 2)
	require.InDelta(t, none.allocs["following"], many.allocs["following"], 3)
	for what, statements := range many.statements {
		if !strings.HasPrefix(what, "following: ") {
			require.LessOrEqual(t, len(statements), 3, "%s: %q", what, statements)
			continue
		}
		// The feed itself, and one row of the entry that is new.
		require.Len(t, statements, 2, "%s: %q", what, statements)
		require.Contains(t, statements[0], "FROM changes")
		require.Contains(t, statements[1], "WHERE kind = ? AND name = ?")
	}
}
