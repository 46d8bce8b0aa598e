// SPDX-License-Identifier: Apache-2.0

// Package feed follows the change feed of the database, so that what a replica
// keeps in memory is never older than the last poll. It owns the reading, the
// removal of doubles and the retries; what a change means is the handlers'.
package feed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// Defaults of a Follower.
const (
	DefaultInterval = 500 * time.Millisecond
	// DefaultTimeout is how long one poll may take.
	DefaultTimeout = 2 * time.Second
	// StaleAfter is how old the last confirmation may be (tokenserver.md 23).
	StaleAfter = time.Second
	// reloadTimeout is how long reading everything anew may take.
	reloadTimeout = 30 * time.Second
	// patience is how long a request waits for a poll, which is what one may take on a
	// busy machine: whoever is refused comes again later still.
	patience = time.Second
	// firstRead is how many entries the first poll knows, so that one that commits
	// right after it brings no need to read everything again.
	firstRead = 1000
	// waitForWriters is longer than a transaction takes. What was read within that time,
	// and at most twice of it, is read again.
	waitForWriters = 15 * time.Second
	// beginWait is how long the first poll waits for those under way.
	beginWait = 500 * time.Millisecond
	// catchUpEvery keeps those who are refused from asking the database all the time.
	catchUpEvery = 100 * time.Millisecond
)

// ErrStale says that it is not known whether what is in memory is up to date.
var ErrStale = fmt.Errorf("the change feed could not be confirmed: %w", storage.ErrUnavailable)

// Handler brings what is in memory up to date with the record that key names.
// It may be called more often than there were changes.
type Handler func(ctx context.Context, key string) error

// Follower polls the feed and calls a handler for every change. The first poll reads
// everything; each later one brings what changed since.
//
// Entries are told apart by their ids, which grow in the order in which they are
// written; no clock of another replica matters. They are committed in another order,
// so that each poll reads again what was read lately. A transaction that takes longer
// than that, as a commit does that waits for a lost standby, is remembered: once it
// has ended, everything is read anew.
//
// All that was there before must be there still: otherwise this is not the feed it
// was, because it was out of reach for longer than it keeps its entries, or because
// the database is another one or an older one.
type Follower struct {
	Store storage.Feed
	// Handlers by kind; a kind without one is ignored.
	Handlers map[storage.ChangeKind]Handler
	// Reload reads everything anew: it is called at the first poll, and when entries may
	// have been missed. Nil does nothing.
	Reload func(ctx context.Context) error
	// Restored is called in place of Reload when the database lacks what was read
	// before: it has gone back in time, because it was restored from a backup or its
	// address leads to a copy that was behind. Nil: Reload is.
	Restored func(ctx context.Context) error
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Logger gets a line when the polls begin to fail and when they are well
	// again; nil is slog.Default.
	Logger *slog.Logger
	// Interval and Timeout are the defaults above when zero.
	Interval, Timeout time.Duration

	confirmed atomic.Pointer[time.Time] // start of the last poll that read and handled all of it
	failed    atomic.Pointer[time.Time] // end of the last poll, when that one failed
	began     atomic.Pointer[time.Time] // start of the poll under way

	once    sync.Once
	turn    chan struct{} // held by the poll under way, and guards what follows
	failing bool          // the last poll failed
	begun   bool          // a poll has read the feed
	window  window
	pending []storage.Change // entries read and not handled yet
	reload  bool             // everything is to be read anew
	back    bool             // the database has gone back in time
}

// Confirmed is the time at which everything in memory was last known to be up
// to date; zero before the first poll that succeeded. It never waits.
func (f *Follower) Confirmed() time.Time {
	if at := f.confirmed.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// take waits for the turn to poll; false when ctx ends before.
func (f *Follower) take(ctx context.Context) bool {
	if f.takeNow() {
		return true
	}
	select {
	case f.turn <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (f *Follower) takeNow() bool {
	f.once.Do(func() { f.turn = make(chan struct{}, 1) })
	select {
	case f.turn <- struct{}{}:
		return true
	default:
		return false
	}
}

func (f *Follower) give() { <-f.turn }

// Run polls until ctx ends. A poll that fails is repeated at the next interval.
func (f *Follower) Run(ctx context.Context) {
	ticker := time.NewTicker(orDefault(f.Interval, DefaultInterval))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			// Logged by Poll, when it begins to fail.
			_ = f.Poll(ctx)
		}
	}
}

// Poll reads the feed once and calls the handlers, once for all changes of one
// record. What a handler could not do is tried again at the next poll, and the
// time of Confirmed stays until it is done.
func (f *Follower) Poll(ctx context.Context) error {
	if !f.take(ctx) {
		return ctx.Err()
	}
	defer f.give()
	return f.poll(ctx)
}

func (f *Follower) poll(ctx context.Context) error {
	now := f.now()
	f.began.Store(&now)
	defer f.began.Store(nil)
	timeout := orDefault(f.Timeout, DefaultTimeout)
	err := within(ctx, timeout, func(ctx context.Context) error { return f.readFeed(ctx, now) })
	// Also when reading failed: what is pending may well succeed.
	err = errors.Join(err, within(ctx, reloadTimeout, f.readAnew))
	if !f.reload {
		err = errors.Join(err, within(ctx, timeout, f.handle))
	}
	if err == nil {
		f.confirmed.Store(&now)
		f.failed.Store(nil)
	} else {
		end := f.now()
		f.failed.Store(&end)
	}
	f.report(ctx, err)
	return err
}

func within(ctx context.Context, timeout time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return do(ctx)
}

func (f *Follower) readFeed(ctx context.Context, now time.Time) error {
	if !f.begun {
		f.reload = true
		return f.begin(ctx, now)
	}
	// Before the entries: what one of those commits who have ended is among them.
	writers, err := f.writers(ctx, now)
	if err != nil {
		return err
	}
	changes, err := f.Store.Changes(ctx, f.window.from)
	lost := errors.Is(err, storage.ErrWentBack)
	if err != nil && !lost {
		return fmt.Errorf("reading the change feed: %w", err)
	}
	if !lost && f.window.continues(changes) {
		f.pending = append(f.pending, f.window.add(changes)...)
		if f.window.advance(writers, now) {
			f.reload = true
		}
		return nil
	}
	f.breakOff(now, lost)
	return f.begin(ctx, now)
}

// keepsSurely is less than the hour for which the feed keeps its entries.
const keepsSurely = 45 * time.Minute

// breakOff forgets what was read of the feed: ids are given anew. After a long time
// what is missing may as well have been garbage, unless this process has just
// committed it.
func (f *Follower) breakOff(now time.Time, lost bool) {
	if last := f.window.last; last != 0 || lost {
		f.back = true
		if lost || now.Sub(f.window.read) < keepsSurely {
			f.logger().Error("the database has gone back in time: it was restored from a backup, or its address leads to a copy that was behind; "+
				"reading everything anew", "last_change_known", last, "last_change_at", f.window.seen[last].At)
		}
	}
	f.reload, f.pending = true, nil
}

// begin takes what is in the feed for known, since everything is read after it.
func (f *Follower) begin(ctx context.Context, now time.Time) error {
	changes, err := f.Store.LatestChanges(ctx, firstRead)
	if err != nil {
		return fmt.Errorf("reading the change feed: %w", err)
	}
	w := newWindow(changes, firstRead, now)
	if w.from > 0 {
		// One under way may have an entry before the first, and is read with everything
		// if it ends before.
		if w.late, err = f.awaitWriters(ctx); err != nil {
			return err
		}
	}
	f.begun, f.window = true, w
	return nil
}

// writers are those under way, where it matters.
func (f *Follower) writers(ctx context.Context, now time.Time) ([]string, error) {
	if !f.window.waits(now) {
		return nil, nil
	}
	return f.askWriters(ctx)
}

func (f *Follower) askWriters(ctx context.Context) ([]string, error) {
	writers, err := f.Store.Writers(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking who writes to the change feed: %w", err)
	}
	return writers, nil
}

// awaitWriters waits a moment for those who are under way to end and returns who has
// not.
func (f *Follower) awaitWriters(ctx context.Context) ([]string, error) {
	left, err := f.askWriters(ctx)
	end := time.After(beginWait)
	for err == nil && len(left) > 0 {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-end:
			return left, nil
		case <-time.After(beginWait / 20):
		}
		var under []string
		under, err = f.askWriters(ctx)
		left = both(left, under)
	}
	return left, err
}

type record struct {
	kind storage.ChangeKind
	key  string
}

// readAnew reads everything when that is due. It has more time than a poll: a
// replica with many apps would never catch up otherwise.
func (f *Follower) readAnew(ctx context.Context) error {
	read := f.Reload
	if f.back && f.Restored != nil {
		read = f.Restored
	}
	if f.reload && read != nil {
		if err := read(ctx); err != nil {
			return fmt.Errorf("reading everything anew: %w", err)
		}
	}
	f.reload, f.back = false, false
	return nil
}

func (f *Follower) handle(ctx context.Context) error {
	var errs []error
	var left []storage.Change
	results := map[record]error{}
	for _, change := range f.pending {
		handler, ok := f.Handlers[change.Kind]
		if !ok {
			continue
		}
		r := record{change.Kind, change.Key}
		err, done := results[r]
		if !done {
			err = handler(ctx, change.Key)
			results[r] = err
			if err != nil {
				errs = append(errs, fmt.Errorf("following a change of %s %s: %w", change.Kind, change.Key, err))
			}
		}
		if err != nil {
			left = append(left, change)
		}
	}
	f.pending = left
	return errors.Join(errs...)
}

// report logs the edges: twice a second would say no more.
func (f *Follower) report(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case err != nil && !f.failing:
		f.failing = true
		f.logger().Error("following the change feed fails; trying again at every interval", "error", err)
	case err == nil && f.failing:
		f.failing = false
		f.logger().Info("following the change feed again")
	}
}

func (f *Follower) now() time.Time {
	if f.Now == nil {
		return time.Now()
	}
	return f.Now()
}

func (f *Follower) logger() *slog.Logger {
	if f.Logger == nil {
		return slog.Default()
	}
	return f.Logger
}

func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}
