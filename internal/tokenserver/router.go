// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"net/http"
	"strings"
)

// router sends a request to its endpoint. Where one takes a path as it stands, for
// every method, as those of tokens do, it is found at once: the mux goes from segment
// to segment and notes each on the way.
type router struct {
	mux *http.ServeMux
	// whole are such paths; nil: the method decides.
	whole map[string]http.Handler
}

func newRouter() *router {
	return &router{mux: http.NewServeMux(), whole: map[string]http.Handler{}}
}

// Handle is http.ServeMux.Handle.
func (rt *router) Handle(pattern string, handler http.Handler) {
	rt.mux.Handle(pattern, handler)
	method, path, found := strings.Cut(pattern, " ")
	if !found {
		method, path = "", pattern
	}
	if strings.HasSuffix(path, "/") || strings.Contains(path, "{") {
		return
	}
	if _, twice := rt.whole[path]; twice || method != "" {
		handler = nil
	}
	rt.whole[path] = handler
}

func (rt *router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	handler := rt.whole[r.URL.Path]
	// RawPath: a path with an escape in it that needs none, or that stands for a slash.
	if handler == nil || r.URL.RawPath != "" || r.Method == http.MethodConnect {
		rt.mux.ServeHTTP(w, r)
		return
	}
	r.Pattern = r.URL.Path
	handler.ServeHTTP(w, r)
}
