// SPDX-License-Identifier: Apache-2.0

// Package serve answers GET /token on the loopback address of a Pod, for
// applications that want neither files nor a Secret.
//
// Whoever reaches the address may have the token, so what must not reach it is
// kept off: a web page in a browser (no CORS, and a header that no page can send
// without it; requests with Origin or Referer are refused), a name that was made
// to resolve to the loopback address (Host), and a proxy or a server that was
// tricked into a request (the header again, and X-Forwarded-For).
package serve

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"connectedapps.dev/operator/internal/refresher"
)

// Header must be in every request, with HeaderValue.
const (
	Header      = "X-Connected-Apps"
	HeaderValue = "token"
)

// Endpoint is the handler of GET /token.
type Endpoint struct {
	// Token returns the token of the moment, or why there is none.
	Token func() (*refresher.Token, error)
	// Address is where it is served; requests must name it or localhost, with its
	// port.
	Address net.Addr
}

// Handler routes to the endpoint.
func (e *Endpoint) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /token", e.get)
	return mux
}

func (e *Endpoint) get(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if status, reason := e.refuse(r); status != 0 {
		http.Error(w, reason, status)
		return
	}
	token, err := e.Token()
	if err != nil {
		answer(w, http.StatusServiceUnavailable, Problem{Reason: refresher.ReasonOf(err), Message: err.Error()})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(refresher.Files(token)[refresher.KeyTokenJSON])
}

// Problem is the body of a 503: why there is no valid token.
type Problem struct {
	Reason  refresher.Reason `json:"reason"`
	Message string           `json:"message"`
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(body) // the client may be gone
}

// notFromHere are headers that browsers and proxies add to what they pass on.
var notFromHere = []string{"Origin", "Referer", "Sec-Fetch-Site", "X-Forwarded-For", "Forwarded"}

// refuse says why the request is not one of an application beside the refresher;
// 0: it may be.
func (e *Endpoint) refuse(r *http.Request) (status int, reason string) {
	if !slices.Contains(e.hosts(), strings.ToLower(r.Host)) {
		return http.StatusMisdirectedRequest, fmt.Sprintf("the Host must be %s", strings.Join(e.hosts(), " or "))
	}
	for _, name := range notFromHere {
		if r.Header.Get(name) != "" {
			return http.StatusForbidden, "requests of browsers and proxies are refused: this one has the header " + name
		}
	}
	if values := r.Header.Values(Header); len(values) != 1 || values[0] != HeaderValue {
		return http.StatusForbidden, fmt.Sprintf("the header %q is required", Header+": "+HeaderValue)
	}
	return 0, ""
}

// hosts are what a client may call the address.
func (e *Endpoint) hosts() []string {
	host, port, err := net.SplitHostPort(e.Address.String())
	if err != nil {
		return nil // an address of package net has both
	}
	var hosts []string
	for _, name := range []string{host, "localhost", "127.0.0.1", "::1"} {
		if h := net.JoinHostPort(name, port); !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	return hosts
}
