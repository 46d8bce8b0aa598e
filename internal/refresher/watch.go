// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settled is how long nothing has to change before the credentials are read,
	// so that a directory that is being written is not taken by half, and
	// settledAtLast bounds the wait where something changes without end.
	settled       = 250 * time.Millisecond
	settledAtLast = 2 * time.Second
)

// Watch calls changed when something in one of the directories, or one of the
// files, was replaced and has come to rest, until ctx ends. Paths need not exist,
// and may be replaced as a whole. Where nobody can watch, it says so and returns:
// an Engine looks every five minutes anyway.
func Watch(ctx context.Context, paths []string, logger *slog.Logger, changed func()) {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		logger.Warn("credentials cannot be watched, changes are seen within five minutes", "error", err)
		return
	}
	defer func() { _ = notify.Close() }()
	w := &watch{notify: notify, logger: logger}
	for _, path := range paths {
		if absolute, err := filepath.Abs(path); err == nil {
			w.paths = append(w.paths, absolute)
		}
	}
	w.renew()
	changed() // what was written before the watch began
	events := make(chan struct{})
	go settle(ctx, events, changed)
	for {
		select {
		case <-ctx.Done():
			return
		case err := <-notify.Errors:
			logger.Warn("watching the credentials", "error", err)
		case event := <-notify.Events:
			if !w.concerns(event) {
				continue
			}
			w.renew()
		}
		// After an error too: it may be that events were lost.
		select {
		case events <- struct{}{}:
		case <-ctx.Done():
		}
	}
}

// watch watches each of paths that is a directory, and the nearest directory above
// each that exists, where the path is made or replaced.
type watch struct {
	notify *fsnotify.Watcher
	paths  []string
	logger *slog.Logger
	// above are the directories above, and in each the name that leads to a path.
	above map[string][]string
	// failed is the last path that could not be watched, which is told once.
	failed string
}

// renew looks at what the paths are now: a directory that was replaced is another
// one under the same name.
func (w *watch) renew() {
	for _, known := range w.notify.WatchList() {
		_ = w.notify.Remove(known)
	}
	w.above = map[string][]string{}
	for _, path := range w.paths {
		dir, name := filepath.Dir(path), filepath.Base(path)
		for !isDir(dir) && dir != filepath.Dir(dir) {
			dir, name = filepath.Dir(dir), filepath.Base(dir)
		}
		w.above[dir] = append(w.above[dir], name)
		w.add(dir)
		if isDir(path) {
			w.add(path)
		}
	}
}

func (w *watch) add(dir string) {
	if err := w.notify.Add(dir); err != nil && w.failed != dir && isDir(dir) {
		w.failed = dir
		w.logger.Warn("credentials cannot be watched, changes are seen within five minutes", "directory", dir, "error", err)
	}
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// concerns reports whether an event is about one of the paths.
func (w *watch) concerns(event fsnotify.Event) bool {
	if event.Op == fsnotify.Chmod {
		return false
	}
	for _, path := range w.paths {
		if event.Name == path || filepath.Dir(event.Name) == path {
			return true
		}
	}
	name := filepath.Base(event.Name)
	for _, leading := range w.above[filepath.Dir(event.Name)] {
		// A file of the kubelet's is replaced by way of ..data.
		if name == leading || strings.HasPrefix(name, "..") {
			return true
		}
	}
	return false
}

// settle calls changed once for all events that come shortly after one another.
func settle(ctx context.Context, events <-chan struct{}, changed func()) {
	var first time.Time
	timer := time.NewTimer(0)
	<-timer.C
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
			if first.IsZero() {
				first = time.Now()
			}
			timer.Reset(min(settled, time.Until(first.Add(settledAtLast))))
		case <-timer.C:
			first = time.Time{}
			changed()
		}
	}
}
