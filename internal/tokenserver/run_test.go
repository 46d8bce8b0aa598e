// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/ended"
	"connectedapps.dev/operator/internal/tokenserver/metrics"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// backlog is a storage that has only garbage.
type backlog struct {
	storage.Storage
	rows    int
	batches []int
	gone    atomic.Bool
}

func (b *backlog) CollectGarbage(_ context.Context, _ time.Time, batch int) (map[string]int, error) {
	if b.gone.Load() {
		return nil, errors.New("the disk is gone")
	}
	n := min(b.rows, batch)
	b.rows -= n
	b.batches = append(b.batches, n)
	return map[string]int{"sessions": n, "changes": 0}, nil
}

func collector(t *testing.T, store *backlog, log *bytes.Buffer) *Server {
	t.Helper()
	measured, err := metrics.New(prometheus.NewRegistry(), "test")
	require.NoError(t, err)
	return &Server{
		metrics: measured,
		config:  Config{Store: store, Now: time.Now, Logger: slog.New(slog.NewTextHandler(log, nil))},
		ended:   ended.New(store, time.Now),
	}
}

func TestABacklogIsCollectedInBoundedBatches(t *testing.T) {
	store := &backlog{rows: 1200}
	require.NoError(t, collector(t, store, &bytes.Buffer{}).collectGarbage(t.Context()))
	require.Equal(t, []int{500, 500, 200}, store.batches)
}

func TestACollectionThatFailsIsToldAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &bytes.Buffer{}
		store := &backlog{rows: 10}
		store.gone.Store(true)
		s := collector(t, store, log)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go s.every(ctx, maintainEvery, "collecting garbage", s.collectGarbage)
		synctest.Wait()
		require.Contains(t, log.String(), "the disk is gone")
		require.Contains(t, log.String(), "collecting garbage")
		store.gone.Store(false)
		time.Sleep(maintainEvery)
		synctest.Wait()
		require.Zero(t, store.rows)
	})
}
