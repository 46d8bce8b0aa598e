// SPDX-License-Identifier: Apache-2.0

package httpx

import "net/http"

// Router takes the handlers of an endpoint; *http.ServeMux is one.
type Router interface {
	Handle(pattern string, handler http.Handler)
	HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request))
}
