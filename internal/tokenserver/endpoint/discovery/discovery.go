// SPDX-License-Identifier: Apache-2.0

// Package discovery serves what the server says of itself: OpenID Connect
// discovery and RFC 8414 metadata are the same document.
// https://openid.net/specs/openid-connect-discovery-1_0.html
// https://www.rfc-editor.org/rfc/rfc8414
package discovery

import (
	"net/http"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
)

const maxAge = 15 * time.Minute

// Endpoint serves the document at both of its paths. Without an installation id,
// which is the database's, it is not the last word, and nobody may keep it.
type Endpoint struct{ Metadata oauth.Metadata }

// Mount adds the endpoint to mux.
func (e *Endpoint) Mount(mux httpx.Router) {
	mux.HandleFunc(oauth.PathDiscovery, e.serve)
	mux.HandleFunc(oauth.PathMetadata, e.serve)
}

func (e *Endpoint) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	switch {
	case !httpx.AllowMethods(w, r, http.MethodGet):
	case e.Metadata.InstallationID == "":
		httpx.JSON(w, http.StatusOK, e.Metadata)
	default:
		httpx.CacheableJSON(w, e.Metadata, maxAge)
	}
}
