// SPDX-License-Identifier: Apache-2.0

// Package jwks serves the public keys as a JWK Set.
// https://www.rfc-editor.org/rfc/rfc7517#section-5
package jwks

import (
	"fmt"
	"net/http"
	"time"

	"github.com/go-jose/go-jose/v4"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/keys"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// maxAge is far below the hour that a key is published before it signs.
const maxAge = 15 * time.Minute

// Endpoint serves GET /accounts/api/v2/oauth2/jwks.
type Endpoint struct {
	// Published returns the keys; none: they are not known yet.
	Published func() []keys.PublicKey
}

// errUnknown keeps an empty set from being cached.
var errUnknown = fmt.Errorf("the keys are not loaded yet: %w", storage.ErrUnavailable)

// Mount adds the endpoint to mux.
func (e *Endpoint) Mount(mux httpx.Router) { mux.HandleFunc(oauth.PathJWKS, e.serve) }

func (e *Endpoint) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	if !httpx.AllowMethods(w, r, http.MethodGet) {
		return
	}
	published := e.Published()
	if len(published) == 0 {
		httpx.Error(w, r, errUnknown)
		return
	}
	set := jose.JSONWebKeySet{}
	for _, key := range published {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key.Key, KeyID: key.KeyID, Algorithm: key.Algorithm, Use: "sig"})
	}
	httpx.CacheableJSON(w, set, maxAge)
}
