// SPDX-License-Identifier: Apache-2.0

package tokenservertest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"

	"connectedapps.dev/operator/internal/oauth"
)

// WithoutExtensions, for WithMiddleware, lets a server be one that has none of our
// extensions.
func WithoutExtensions(next http.Handler) http.Handler {
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
		for member := range document {
			if strings.HasPrefix(member, "connectedapps_") {
				delete(document, member)
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(document)
	})
}
