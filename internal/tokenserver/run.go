// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/metrics"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

const (
	// loadRetry is the pause after a first load that failed.
	loadRetry = time.Second
	// maintainEvery is far less than the hour between making a signing key and
	// its first signature.
	maintainEvery = 10 * time.Minute
	// loadTimeout is how long one try of the first load may take.
	loadTimeout  = time.Minute
	flushTimeout = 5 * time.Second
)

// Load brings apps and revocations into memory; the server is ready once it has
// succeeded.
func (s *Server) Load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	// The first poll reads everything, after the feed, so that what changes meanwhile
	// is seen by the next.
	if err := s.follower.Poll(ctx); err != nil {
		return err
	}
	if err := s.observe(ctx); err != nil {
		return err
	}
	s.gate.loaded.Store(true)
	return nil
}

func (s *Server) reload(ctx context.Context) error {
	// First the apps: nothing is issued at a new epoch to an app that the view
	// still takes for enabled.
	if err := s.view.Load(ctx); err != nil {
		return err
	}
	return errors.Join(s.ended.Load(ctx), s.config.Keyring.Reload(ctx))
}

// restored brings the memory of this replica and a database that has gone back in
// time together. What has ended stays so, as far as this replica knows it; what was
// made since is lost, but for what the configuration has.
func (s *Server) restored(ctx context.Context) error {
	before := s.view.Len()
	again, err := s.ended.Restore(ctx, s.exists)
	if err != nil {
		return err
	}
	if err := s.config.Keyring.Restore(ctx); err != nil {
		return err
	}
	if s.config.Restored != nil {
		if err := s.config.Restored(ctx); err != nil {
			return err
		}
	}
	if err := errors.Join(s.reload(ctx), s.observe(ctx)); err != nil {
		return err
	}
	s.config.Logger.LogAttrs(ctx, slog.LevelWarn, "read everything of the database that has gone back in time",
		slog.Int("apps", s.view.Len()), slog.Int("apps_before", before), slog.Int("ended_again", again))
	return nil
}

func (s *Server) followApp(ctx context.Context, clientID string) error {
	return s.ended.FollowApp(ctx, clientID, s.view.Refresh)
}

// followEpoch also reads the app whose epoch it is: the entry of the feed that
// brings the app may have failed.
func (s *Server) followEpoch(ctx context.Context, key string) error {
	if clientID, ok := strings.CutPrefix(key, string(storage.EpochApp)+" "); ok {
		return s.followApp(ctx, clientID)
	}
	return s.ended.FollowEpoch(ctx, key)
}

func (s *Server) exists(clientID string) bool {
	_, ok := s.view.App(clientID)
	return ok
}

// Run does what goes on beside requests, until ctx ends: it loads until that
// succeeds, follows the change feed, writes last uses behind, keeps the signing
// keys and collects garbage. It writes what is left before it returns.
func (s *Server) Run(ctx context.Context) {
	var loops sync.WaitGroup
	loops.Go(func() {
		s.loadUntilDone(ctx)
		loops.Go(func() { s.every(ctx, maintainEvery, metrics.WorkGarbage, s.collectGarbage) })
		loops.Go(func() { s.every(ctx, maintainEvery, metrics.WorkSize, s.measureDatabase) })
		s.follower.Run(ctx)
	})
	loops.Go(func() { s.every(ctx, clients.FlushEvery, metrics.WorkLastUses, s.FlushUses) })
	loops.Go(func() { s.every(ctx, maintainEvery, metrics.WorkKeys, s.config.Keyring.Maintain) })
	loops.Wait()

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	s.report(ctx, metrics.WorkLastUses, s.FlushUses(ctx))
}

// FlushUses writes the last uses of client secrets, which Run does again and
// again.
func (s *Server) FlushUses(ctx context.Context) error { return s.usage.Flush(ctx) }

func (s *Server) loadUntilDone(ctx context.Context) {
	for {
		err := s.Load(ctx)
		s.report(ctx, metrics.WorkLoad, err)
		if err == nil {
			// What the start took is not needed again.
			debug.FreeOSMemory()
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(loadRetry):
		}
	}
}

// every does it now and then at every interval.
func (s *Server) every(ctx context.Context, interval time.Duration, what string, do func(context.Context) error) {
	s.report(ctx, what, do(ctx))
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.report(ctx, what, do(ctx))
		}
	}
}

// garbageBatch is how many rows of a table go in one transaction.
const garbageBatch = 500

// collectGarbage goes on until nothing is left, in transactions so short that
// other writes come in between.
func (s *Server) collectGarbage(ctx context.Context) error {
	s.ended.Sweep(s.exists)
	for {
		gone, err := s.config.Store.CollectGarbage(ctx, s.config.Now(), garbageBatch)
		s.countGarbage(gone)
		if err != nil {
			return err
		}
		if most := slices.Max(slices.Collect(maps.Values(gone))); most < garbageBatch {
			return nil
		}
	}
}

func (s *Server) countGarbage(gone map[string]int) {
	for table, n := range gone {
		s.metrics.GarbageCollected(table, n)
	}
}

func (s *Server) measureDatabase(ctx context.Context) error {
	size, err := s.config.Store.Size(ctx)
	if err == nil {
		s.metrics.DatabaseSize(size)
	}
	return err
}

// report counts what work beside requests has come to, and logs that it failed.
func (s *Server) report(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	s.metrics.WorkDone(what, s.config.Now(), err)
	if err != nil {
		s.config.Logger.LogAttrs(ctx, slog.LevelError, "background work", slog.String("doing", what), slog.Any("error", err))
	}
}
