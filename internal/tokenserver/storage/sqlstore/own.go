// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"cmp"
	"database/sql"
	"slices"
	"sync"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// own are the entries of the feed that this process has committed since it last read
// the feed. A failover may lose them before anybody has read them, and then nobody
// else knows. The zero value records nothing: a file that one process holds has no
// failover.
type own struct {
	mu        sync.Mutex
	recording map[*sql.Tx][]storage.Change
	committed []storage.Change
}

// begin records what a transaction writes, until end.
func (o *own) begin(tx *sql.Tx) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.recording == nil {
		o.recording = map[*sql.Tx][]storage.Change{}
	}
	o.recording[tx] = nil
}

// record keeps an entry until its transaction ends.
func (o *own) record(tx *sql.Tx, change storage.Change) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if entries, ok := o.recording[tx]; ok {
		o.recording[tx] = append(entries, change)
	}
}

// end keeps what a transaction recorded when it is committed.
func (o *own) end(tx *sql.Tx, committed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if committed {
		o.committed = append(o.committed, o.recording[tx]...)
	}
	delete(o.recording, tx)
}

// take returns those that are committed, and forgets them.
func (o *own) take() []storage.Change {
	o.mu.Lock()
	defer o.mu.Unlock()
	taken := o.committed
	o.committed = nil
	return taken
}

// putBack undoes take.
func (o *own) putBack(taken []storage.Change) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.committed = append(taken, o.committed...)
}

// missing is the first of some entries that is not among changes, which are in the
// order of their ids, though its id is at least from and it is not so old that it may
// be garbage, as after a sleep of the machine.
func missing(entries []storage.Change, from int64, old time.Time, changes []storage.Change) (storage.Change, bool) {
	for _, entry := range entries {
		if entry.ID < from || !entry.At.After(old) {
			continue
		}
		at, found := slices.BinarySearchFunc(changes, entry.ID, func(c storage.Change, id int64) int { return cmp.Compare(c.ID, id) })
		if !found || changes[at] != entry {
			return entry, true
		}
	}
	return storage.Change{}, false
}
