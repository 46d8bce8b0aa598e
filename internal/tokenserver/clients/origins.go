// SPDX-License-Identifier: Apache-2.0

package clients

import "sync"

// originCount counts the apps that run in a browser at each origin.
type originCount struct {
	mu    sync.RWMutex
	count map[string]int
}

// replace takes away what before added, and adds what after does; either may be
// nil.
func (o *originCount) replace(before, after *App) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.count == nil {
		o.count = map[string]int{}
	}
	if before != nil {
		for _, origin := range before.Origins {
			if o.count[origin]--; o.count[origin] == 0 {
				delete(o.count, origin)
			}
		}
	}
	if after != nil {
		for _, origin := range after.Origins {
			o.count[origin]++
		}
	}
}

// OriginKnown tells whether an enabled public client runs at the origin, as a
// browser writes it in the Origin header.
func (v *View) OriginKnown(origin string) bool {
	v.origins.mu.RLock()
	defer v.origins.mu.RUnlock()
	return v.origins.count[origin] > 0
}
