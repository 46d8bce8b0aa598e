// SPDX-License-Identifier: Apache-2.0

package tokenservertest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"

	"connectedapps.dev/operator/internal/oauth"
)

// Plain lets a server seem to be one without our extensions, as middleware.
func Plain(next http.Handler) http.Handler {
	return Without("connectedapps_extensions", "connectedapps_installation_id")(next)
}

// Without takes members from the discovery document, as middleware.
func Without(members ...string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != oauth.PathDiscovery {
				next.ServeHTTP(w, r)
				return
			}
			recorder := httptest.NewRecorder()
			next.ServeHTTP(recorder, r)
			document := map[string]any{}
			if err := json.Unmarshal(recorder.Body.Bytes(), &document); err != nil {
				panic(err)
			}
			for _, member := range members {
				delete(document, member)
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(document)
		})
	}
}
