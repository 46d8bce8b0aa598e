// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// collecting tells of every batch of garbage that went.
type collecting struct {
	*tokenservertest.Faults
	batches  atomic.Int64
	most     atomic.Int64
	finished chan struct{}
	once     sync.Once
}

func (c *collecting) CollectGarbage(ctx context.Context, now time.Time, batch int) (map[string]int, error) {
	gone, err := c.Faults.CollectGarbage(ctx, now, batch)
	c.batches.Add(1)
	n := int64(gone["used_assertions"])
	c.most.Store(max(c.most.Load(), n))
	if err == nil && n < int64(batch) {
		c.once.Do(func() { close(c.finished) })
	}
	return gone, err
}

// leaveBehind fills the table of used assertions with expired rows.
func leaveBehind(t *testing.T, folder string, rows int) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(folder, "tokenserver.db"))
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	_, err = db.ExecContext(t.Context(), `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
		INSERT INTO used_assertions (client_id, jti, expires_at) SELECT 'app', 'jti' || i, 1 FROM n`, rows)
	require.NoError(t, err)
}

func TestABacklogOfGarbageKeepsNoWriterWaiting(t *testing.T) {
	const rows = 20_000
	folder := t.TempDir()
	first := tokenservertest.Start(t, tokenservertest.WithFolder(folder))
	first.HTTP.Close()
	require.NoError(t, first.Store.Close())
	leaveBehind(t, folder, rows)

	c := &collecting{Faults: tokenservertest.NewFaults(), finished: make(chan struct{})}
	c.Break(tokenservertest.Held, "AllApps")
	i := tokenservertest.Start(t, tokenservertest.WithFolder(folder), tokenservertest.WithRun(),
		tokenservertest.WithStorage(func(s storage.Storage) storage.Storage {
			c.Wrap(s)
			return c
		}))
	require.Zero(t, c.batches.Load(), "not before the load")
	c.Mend()
	written := 0
	for collected := false; !collected; {
		// One write takes its turn whenever a batch has gone.
		err := i.Store.UseAssertion(t.Context(), "app", time.Now().String(), time.Now().Add(time.Hour))
		require.NoError(t, err)
		if c.batches.Load() > 0 {
			written++
		}
		select {
		case <-c.finished:
			collected = true
		default:
		}
	}
	assert.GreaterOrEqual(t, c.batches.Load(), int64(rows/500), "many transactions")
	assert.EqualValues(t, 500, c.most.Load(), "each bounded")
	assert.Greater(t, written, rows/500/2, "other writes came in between")
	t.Logf("%d batches, %d writes in between", c.batches.Load(), written)
}
