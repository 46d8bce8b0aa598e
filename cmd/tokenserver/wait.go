// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"connectedapps.dev/operator/internal/options/tokenserveroptions"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
)

// waitInterval is how late what is waited for is noticed at most.
const waitInterval = 200 * time.Millisecond

// waiter waits for what a start needs and does not find yet. Files and the
// database share its time.
type waiter struct {
	// total is for messages; zero: nothing is waited for.
	total    time.Duration
	deadline <-chan struct{}
	logger   *slog.Logger
}

// newWaiter begins the time that serve may wait. stop frees it.
func newWaiter(ctx context.Context, total time.Duration, logger *slog.Logger) (w *waiter, stop func()) {
	timed, stop := context.WithTimeout(context.WithoutCancel(ctx), total)
	return &waiter{total: total, deadline: timed.Done(), logger: logger}, stop
}

// until calls look until it misses nothing, and logs what it misses whenever
// that changes. It returns ctx's error when that ends first, and else what was
// missed last when the time is over.
func (w *waiter) until(ctx context.Context, what string, look func() (missing string, err error)) (string, error) {
	ticker := time.NewTicker(waitInterval)
	defer ticker.Stop()
	logged := ""
	for {
		missing, err := look()
		if missing == "" || err != nil || w.total == 0 {
			return missing, err
		}
		if missing != logged {
			w.logger.Info("waiting", "what", what, "missing", missing, "for", w.total)
			logged = missing
		}
		select {
		case <-ctx.Done():
			return missing, ctx.Err()
		case <-w.deadline:
			return missing, nil
		case <-ticker.C:
		}
	}
}

// files returns when the configuration file and every file it names are there,
// or when the time is over. Only absence is waited for: what is wrong with a
// file that is there is for the one who reads it.
func (w *waiter) files(ctx context.Context, config string) error {
	missing, err := w.until(ctx, "files", func() (string, error) { return strings.Join(missingFiles(config), ", "), nil })
	if missing == "" || err != nil || w.total == 0 {
		return err
	}
	err = fmt.Errorf("waiting for files: %s did not appear within %s", missing, w.total)
	return &failure{err: err, hint: "mount or make them, or correct the configuration"}
}

// database calls open until no other process has the database open, or the time
// is over: a replacement starts while the process before it finishes its
// requests.
func (w *waiter) database(ctx context.Context, open func() error) error {
	var inUse error
	_, err := w.until(ctx, "database", func() (string, error) {
		inUse = open()
		if errors.Is(inUse, storage.ErrInUse) {
			return "its lock, held by " + holderOf(inUse), nil
		}
		return "", inUse
	})
	if err != nil || inUse == nil {
		return err
	}
	if w.total == 0 {
		return inUse
	}
	return &failure{
		err:  fmt.Errorf("waiting %s for the database: %w", w.total, inUse),
		hint: "stop the other tokenserver first: a SQLite database has one server at a time; or wait longer with --wait",
	}
}

func holderOf(err error) string {
	var inUse *sqlite.InUseError
	if errors.As(err, &inUse) && inUse.Holder != "" {
		return inUse.Holder
	}
	return "another process"
}

func missingFiles(path string) []string {
	config, err := tokenserveroptions.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return []string{path}
	}
	if err != nil {
		return nil
	}
	var missing []string
	for _, file := range config.Files() {
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, file)
		}
	}
	return missing
}
