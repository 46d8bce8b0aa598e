// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"net/http"

	"connectedapps.dev/operator/internal/oauth"
)

// crossOriginPaths are what an app calls that runs in a browser: none of them
// reads a cookie. Discovery and keys are open to every origin; authorization,
// pages and management to none.
var crossOriginPaths = map[string]bool{oauth.PathToken: true, oauth.PathUserInfo: true, oauth.PathRevoke: true}

// openPaths say to everybody what everybody may know.
var openPaths = map[string]bool{oauth.PathDiscovery: true, oauth.PathMetadata: true, oauth.PathJWKS: true}

// crossOrigin lets public clients call from the origins of their redirect URIs.
// https://fetch.spec.whatwg.org/#http-cors-protocol
func (s *Server) crossOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if openPaths[r.URL.Path] && isPreflight(r) {
			h := w.Header()
			h.Set("Access-Control-Allow-Origin", "*")
			h.Set("Access-Control-Allow-Methods", "GET")
			h.Set("Access-Control-Allow-Headers", "*, Authorization") // the star does not cover it
			h.Set("Access-Control-Max-Age", "600")
			w.WriteHeader(http.StatusNoContent)
			return
		}
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
		if isPreflight(r) {
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

func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}
