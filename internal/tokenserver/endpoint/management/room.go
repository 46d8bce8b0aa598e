// SPDX-License-Identifier: Apache-2.0

package management

import (
	"context"
	"fmt"
	"sync"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/httpx"
)

// maxApps is the number of apps one organization may have. The limit guards
// against loops, not against the last app: what others create within countedFor
// is not counted.
const maxApps = 100_000

// countedFor is how long a count is trusted that leaves room. Counting takes as
// long as there are apps, and must not be a part of creating each of them.
const countedFor = time.Minute

// room is how many apps organizations have, at most. Its zero value knows none.
type room struct {
	mu   sync.Mutex
	orgs map[string]counted
}

type counted struct {
	apps int
	at   time.Time
}

// take counts one app more of an organization; false: that has to be counted
// anew.
func (r *room) take(org string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.orgs[org]
	if !ok || known.apps >= maxApps || now.Sub(known.at).Abs() >= countedFor {
		return false
	}
	known.apps++
	r.orgs[org] = known
	return true
}

func (r *room) set(org string, apps int, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.orgs == nil {
		r.orgs = map[string]counted{}
	}
	r.orgs[org] = counted{apps, now}
}

// checkRoom refuses an app more than an organization may have.
func (e *Endpoint) checkRoom(ctx context.Context, org string, now time.Time) error {
	if e.room.take(org, now) {
		return nil
	}
	n, err := e.Apps.CountApps(ctx, org)
	if err != nil {
		return fmt.Errorf("counting apps: %w", err)
	}
	if n >= maxApps {
		return httpx.BadRequest("the organization has %d apps, the most possible; delete those that are not used", n)
	}
	e.room.set(org, n+1, now)
	return nil
}
