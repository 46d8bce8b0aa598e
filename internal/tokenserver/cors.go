// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"net/http"

	"connectedapps.dev/operator/internal/oauth"
)

// crossOriginPaths are what an app calls that runs in a browser: none of them
// reads a cookie. Discovery and keys are open to every origin by themselves;
// authorization, pages and management to none.
var crossOriginPaths = map[string]bool{oauth.PathToken: true, oauth.PathUserInfo: true, oauth.PathRevoke: true}

// crossOrigin lets public clients call from the origins of their redirect URIs.
// https://fetch.spec.whatwg.org/#http-cors-protocol
func (s *Server) crossOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !crossOriginPaths[r.URL.Path] {
			next.ServeHTTP(w, r)
			return
		}
		h, origin := w.Header(), r.Header.Get("Origin")
		h.Add("Vary", "Origin")
		if origin == "" || !s.view.OriginKnown(origin) {
			next.ServeHTTP(w, r)
			return
		}
		h.Set("Access-Control-Allow-Origin", origin)
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			h.Set("Access-Control-Allow-Methods", "GET, POST")
			h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
			h.Set("Access-Control-Max-Age", "600")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		h.Set("Access-Control-Expose-Headers", "WWW-Authenticate, Retry-After")
		next.ServeHTTP(w, r)
	})
}
