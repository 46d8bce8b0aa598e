// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"net/url"
	"sync"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// origins counts the apps that run in a browser at each origin: those of the
// redirect URIs of enabled public clients.
type origins struct {
	mu    sync.RWMutex
	count map[string]int
}

// replace takes away what before added, and adds what after does; either may be
// nil.
func (o *origins) replace(before, after *storage.App) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.count == nil {
		o.count = map[string]int{}
	}
	for origin := range originsOf(before) {
		if o.count[origin]--; o.count[origin] == 0 {
			delete(o.count, origin)
		}
	}
	for origin := range originsOf(after) {
		o.count[origin]++
	}
}

func originsOf(app *storage.App) map[string]bool {
	found := map[string]bool{}
	if app == nil || !app.Enabled || app.TokenEndpointAuthMethod != oauth.AuthMethodNone {
		return found
	}
	for _, uri := range app.RedirectURIs {
		if u, err := url.Parse(uri); err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" {
			found[u.Scheme+"://"+u.Host] = true
		}
	}
	return found
}

// OriginKnown tells whether an enabled public client runs at the origin, as a
// browser writes it in the Origin header.
func (v *View) OriginKnown(origin string) bool {
	v.origins.mu.RLock()
	defer v.origins.mu.RUnlock()
	return v.origins.count[origin] > 0
}
