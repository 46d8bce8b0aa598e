// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"strings"
	"sync"
)

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
	return v.origins.count[anyPort(origin)] > 0
}

// anyPort drops the port of an origin on the loopback interface, where redirect
// URIs have any (RFC 8252 section 7.3). Of what is no such origin nothing is
// dropped.
func anyPort(origin string) string {
	for _, loopback := range []string{"http://127.0.0.1", "http://[::1]"} {
		port, with := strings.CutPrefix(origin, loopback+":")
		if with && port != "" && strings.Trim(port, "0123456789") == "" {
			return loopback
		}
	}
	return origin
}
