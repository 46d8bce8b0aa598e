// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"net/http"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
)

// options answers OPTIONS for every path: each endpoint refuses that method and
// says in Allow what it takes, which is what was asked.
// https://www.rfc-editor.org/rfc/rfc9110#section-9.3.7
func options(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodOptions {
			next.ServeHTTP(w, r)
			return
		}
		o := &optionsWriter{ResponseWriter: w}
		next.ServeHTTP(o, r)
		if o.answered {
			httpx.EventOf(r.Context()).Fail(nil)
		}
	})
}

// optionsWriter turns a 405 with Allow into a 204 without a body.
type optionsWriter struct {
	http.ResponseWriter
	answered bool
}

func (o *optionsWriter) WriteHeader(status int) {
	if status == http.StatusMethodNotAllowed && o.Header().Get("Allow") != "" {
		o.answered = true
		o.Header().Del("Content-Type")
		o.Header().Del("Content-Length")
		status = http.StatusNoContent
	}
	o.ResponseWriter.WriteHeader(status)
}

func (o *optionsWriter) Write(data []byte) (int, error) {
	if o.answered {
		return len(data), nil
	}
	return o.ResponseWriter.Write(data)
}

// unambiguousEnd ends the connection after a request in chunks. Should it have
// had a Content-Length as well, a proxy in front may have seen another end of
// it than we did, and what follows would be somebody's smuggled request; but
// net/http drops that header before anybody sees it. Clients of this server
// know the length of what they send. Of a request in HTTP/1.0 net/http drops
// Transfer-Encoding instead, so after each of those the connection ends, as it
// does in that version anyway.
// https://www.rfc-editor.org/rfc/rfc9112#section-6.1
func unambiguousEnd(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 1 && (r.ProtoMinor == 0 || len(r.TransferEncoding) > 0) {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// maxPath is how long a path may be. None that exists comes near it, and to find
// out that a longer one does not would cost more than a token.
const maxPath = 2 << 10

// shortPaths refuses what no route can be for.
func shortPaths(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.URL.Path) > maxPath {
			httpx.Error(w, r, &oauth.Error{
				Code: oauth.CodeInvalidRequest, Description: "the path is longer than 2 KiB", Status: http.StatusRequestURITooLong,
			})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// leaving ends each connection with its next answer once the server drains: the
// client opens another, which the load balancer gives to somebody who stays. A
// connection that were closed while it is idle might have a request on its way, and
// few clients repeat a POST.
// https://www.rfc-editor.org/rfc/rfc9112#section-9.6
func (s *Server) leaving(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.health.Draining() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}
