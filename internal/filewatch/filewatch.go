// SPDX-License-Identifier: Apache-2.0

// Package filewatch notices that files changed. It compares what the file
// system says of them at an interval, through every symlink, so that it sees an
// edit, a renamed file and the kubelet's ..data swap alike, on any file system.
package filewatch

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// DefaultInterval is how long a change may stay unnoticed.
const DefaultInterval = 2 * time.Second

// Group is files that are taken over together.
type Group struct {
	// Name is for the report.
	Name string
	// Files returns the paths to compare; they may change with their content.
	Files func() []string
	// Apply takes the files over. It is called at the first look, when a file
	// has changed, and again after an error.
	Apply func(ctx context.Context) error

	applied string // the state at the last successful Apply
}

// Watcher looks after groups, each on its own: an error of one holds up no
// other.
type Watcher struct {
	Groups []*Group
	// Report is told the result of every Apply.
	Report func(group string, err error)
	// Interval is DefaultInterval when zero.
	Interval time.Duration
}

// Run looks at every interval until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	interval := w.Interval
	if interval == 0 {
		interval = DefaultInterval
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.Look(ctx)
		}
	}
}

// Look compares once and applies what has changed.
func (w *Watcher) Look(ctx context.Context) {
	for _, group := range w.Groups {
		// Before Apply reads them: what changes meanwhile is seen the next time.
		now := state(group.Files())
		if now == group.applied {
			continue
		}
		err := group.Apply(ctx)
		if err == nil {
			group.applied = now
		}
		w.Report(group.Name, err)
	}
}

// state is a text that differs when a file does.
func state(files []string) string {
	var b strings.Builder
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			fmt.Fprintf(&b, "%q absent\n", file)
			continue
		}
		var inode uint64
		if system, ok := info.Sys().(*syscall.Stat_t); ok {
			inode = system.Ino
		}
		fmt.Fprintf(&b, "%q %d %d %d\n", file, info.Size(), info.ModTime().UnixNano(), inode)
	}
	return b.String()
}
