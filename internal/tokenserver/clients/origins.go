// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"net/url"
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

// origin is that of an address as a browser writes it: in lower case and without
// the scheme's own port.
// https://html.spec.whatwg.org/multipage/browsers.html#ascii-serialisation-of-an-origin
func origin(u *url.URL) string {
	host := strings.ToLower(u.Host)
	own := map[string]string{"https": ":443", "http": ":80"}[u.Scheme]
	return u.Scheme + "://" + strings.TrimSuffix(strings.TrimSuffix(host, own), ":")
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
