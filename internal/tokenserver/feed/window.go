// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"slices"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// window is the part of the feed that each poll reads again.
type window struct {
	// from is the id it begins at. Whatever has a smaller one has been read, or is of
	// a writer in late.
	from int64
	// kept is the id of the first entry that must be there still: when the feed is
	// first read, it begins with entries that may be collected as garbage.
	kept int64
	// last is the greatest id that was read.
	last int64
	// seen are the entries in it.
	seen map[int64]storage.Change
	read time.Time

	// next is where it begins next; not greater than from: nowhere yet. It was the last
	// at since; writers are those that were under way then, and may have an entry before
	// it, once asked.
	next    int64
	since   time.Time
	asked   bool
	writers []string
	// late are writers that were not waited for any longer.
	late []string
}

// newWindow begins with the latest entries, in order: so many, or all there are.
func newWindow(latest []storage.Change, many int, now time.Time) window {
	w := window{seen: map[int64]storage.Change{}, read: now}
	if len(latest) == many {
		w.from = latest[0].ID
	}
	w.add(latest)
	w.kept, w.next, w.since = w.last, w.last, now
	return w
}

// continues tells whether changes, all that is in the feed from w.from on, still
// holds what was seen. Where nothing was, the first entry there ever is comes next.
func (w *window) continues(changes []storage.Change) bool {
	if w.last == 0 && len(changes) > 0 && changes[0].ID > 1 {
		return false
	}
	gone := 0
	for id := range w.seen {
		if id >= w.kept {
			gone++
		}
	}
	for _, change := range changes {
		before, ok := w.seen[change.ID]
		if ok && before != change {
			return false
		}
		if ok && change.ID >= w.kept {
			gone--
		}
	}
	return gone == 0
}

// add returns the changes that are new.
func (w *window) add(changes []storage.Change) (added []storage.Change) {
	for _, change := range changes {
		if _, ok := w.seen[change.ID]; !ok {
			added = append(added, change)
			w.seen[change.ID] = change
			w.last = max(w.last, change.ID)
		}
	}
	return added
}

// waits tells that advance has to know who writes.
func (w *window) waits(now time.Time) bool {
	return len(w.late) > 0 || w.next > w.from && (!w.asked || w.due(now))
}

func (w *window) due(now time.Time) bool { return now.Sub(w.since) >= waitForWriters }

// advance moves the beginning on. under are the writers that were under way before what
// was added last was read: the entries of all others are among it. It tells whether a
// late one has ended.
func (w *window) advance(under []string, now time.Time) (lateEnded bool) {
	late := both(w.late, under)
	lateEnded = len(late) < len(w.late)
	w.late, w.read = late, now
	switch {
	case w.next <= w.from:
		w.next, w.since, w.asked = w.last, now, false
	case !w.asked:
		w.asked, w.writers = true, under
	case w.due(now):
		w.late = union(w.late, both(w.writers, under))
		w.begin(w.next)
	}
	return lateEnded
}

// begin leaves the entry itself, so that continues has always something to compare.
func (w *window) begin(at int64) {
	w.from, w.kept = at, at
	for id := range w.seen {
		if id < at {
			delete(w.seen, id)
		}
	}
}

// both are the names that are in a and in b.
func both(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(name string) bool { return !slices.Contains(b, name) })
}

// union are the names that are in a or in b.
func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
