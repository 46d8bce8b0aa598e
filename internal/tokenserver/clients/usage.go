// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// FlushEvery is how late the last use of a secret reaches the database at most.
const FlushEvery = 15 * time.Second

// Usage remembers when each secret was last used and writes it behind.
type Usage struct {
	store    storage.Apps
	now      func() time.Time
	mu       sync.Mutex
	used     map[string]time.Time
	complete atomic.Int64
}

// NewUsage makes an empty Usage.
func NewUsage(store storage.Apps, now func() time.Time) *Usage {
	return &Usage{store: store, now: now, used: map[string]time.Time{}}
}

// Used notes that a secret was used now.
func (u *Usage) Used(secretID string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.used[secretID] = u.now()
}

// Flush writes what was noted. What could not be written is kept for the next
// time.
func (u *Usage) Flush(ctx context.Context) error {
	u.mu.Lock()
	used, started := u.used, u.now()
	u.used = make(map[string]time.Time, len(used))
	u.mu.Unlock()
	if err := u.store.TouchSecrets(ctx, used); err != nil {
		u.restore(used)
		return fmt.Errorf("writing the last use of secrets: %w", err)
	}
	u.complete.Store(started.UnixMicro())
	return nil
}

func (u *Usage) restore(used map[string]time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id, at := range used {
		if u.used[id].Before(at) {
			u.used[id] = at
		}
	}
}

// CompleteUntil is the time up to which every use is in the database; zero:
// nothing was written yet.
func (u *Usage) CompleteUntil() time.Time {
	if us := u.complete.Load(); us != 0 {
		return time.UnixMicro(us).UTC()
	}
	return time.Time{}
}
