// SPDX-License-Identifier: Apache-2.0

// Package jwks serves the public keys as a JWK Set.
// https://www.rfc-editor.org/rfc/rfc7517#section-5
package jwks

import (
	"net/http"
	"time"

	"github.com/go-jose/go-jose/v4"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/keys"
)

// maxAge is far below the hour that a key is published before it signs.
const maxAge = 15 * time.Minute

// Endpoint serves GET /accounts/api/v2/oauth2/jwks.
type Endpoint struct {
	Published func() []keys.PublicKey
}

// Mount adds the endpoint to mux.
func (e *Endpoint) Mount(mux httpx.Router) { mux.HandleFunc(oauth.PathJWKS, e.serve) }

func (e *Endpoint) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	if !httpx.AllowMethods(w, r, http.MethodGet) {
		return
	}
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, key := range e.Published() {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key.Key, KeyID: key.KeyID, Algorithm: key.Algorithm, Use: "sig"})
	}
	httpx.CacheableJSON(w, set, maxAge)
}
