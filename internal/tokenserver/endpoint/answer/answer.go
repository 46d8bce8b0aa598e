// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"net/http"
	"slices"
	"strings"

	"connectedapps.dev/operator/internal/tokenserver/httpx"
)

// JSON writes one answer. Nothing of this API may be kept by a cache.
func JSON(w http.ResponseWriter, status int, body any) { httpx.JSON(w, status, body) }

// NoContent writes a 204.
func NoContent(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}

// Method returns the entry of the request's method; HEAD is GET without the
// body. For any other method it sets Allow and returns a 405. Methods are told
// apart here and not by the mux, so that a wrong one gets this API's error body.
func Method[T any](w http.ResponseWriter, r *http.Request, methods map[string]T) (T, error) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	found, ok := methods[method]
	if ok {
		return found, nil
	}
	var names []string
	for name := range methods {
		names = append(names, name)
	}
	slices.Sort(names)
	allowed := strings.Join(names, ", ")
	w.Header().Set("Allow", allowed)
	return found, Problemf(http.StatusMethodNotAllowed, "this method is not possible here; use %s", allowed)
}
