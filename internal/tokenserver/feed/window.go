// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// window is the part of the feed that each poll reads again.
type window struct {
	// from is the id it begins at. Whatever has a smaller one has ended.
	from int64
	// kept is the id of the first entry that must be there still: when the feed is
	// first read, it begins with entries that may be collected as garbage.
	kept int64
	// last is the greatest id that was read.
	last int64
	// seen are the entries in it.
	seen map[int64]storage.Change
	// answered is for how long the feed has been read. An outage does not count: no
	// transaction ends while the database stands still.
	answered time.Duration
	read     time.Time
	marks    []mark
}

// mark says which id was the last after the feed had been read for a while.
type mark struct {
	answered time.Duration
	last     int64
}

// newWindow begins with the latest entries, in order: so many, or all there are.
func newWindow(latest []storage.Change, many int, now time.Time) window {
	w := window{seen: map[int64]storage.Change{}, read: now}
	if len(latest) == many {
		w.from = latest[0].ID
	}
	w.add(latest)
	w.kept, w.marks = w.last, []mark{{0, w.last}}
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

// advance moves the beginning to what was the last entry an overlap ago: entries
// with smaller ids had been begun by then. That one stays, so that continues has
// always something to compare.
func (w *window) advance(now time.Time, interval, overlap time.Duration) {
	w.answered += min(max(now.Sub(w.read), 0), 2*interval)
	w.read = now
	w.marks = append(w.marks, mark{w.answered, w.last})
	ended := 0
	for ended+1 < len(w.marks) && w.marks[ended+1].answered <= w.answered-overlap {
		ended++
	}
	w.marks = w.marks[ended:]
	if first := w.marks[0]; first.answered <= w.answered-overlap && first.last > w.from {
		w.from, w.kept = first.last, first.last
		for id := range w.seen {
			if id < w.from {
				delete(w.seen, id)
			}
		}
	}
}
