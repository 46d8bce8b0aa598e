// SPDX-License-Identifier: Apache-2.0

package campaign

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"

	"connectedapps.dev/operator/internal/oauth"
)

var errCut = errors.New("cut")

// knife ends a process at one of its steps. A step is a request that changes
// something, on its way to the API server or to the token server alike; to the
// process it makes no difference which is killed before a request or after the
// answer to the one before.
type knife struct {
	at        int                      // the step to strike at; 0: never
	of        func(*http.Request) bool // the steps that at counts
	delivered bool                     // the request of that step still arrives, its answer does not
	kill      func()

	mu     sync.Mutex
	steps  int    // all of them
	passed int    // those that at counts
	struck string // the step it struck at
	cut    chan struct{}
}

func newKnife(at int, of func(*http.Request) bool, delivered bool, kill func()) *knife {
	return &knife{at: at, of: of, delivered: delivered, kill: kill, cut: make(chan struct{})}
}

// blunt is a knife that never strikes.
func blunt() *knife { return newKnife(0, nil, false, func() {}) }

// step counts a request and tells whether it is the one to strike at.
func (k *knife) step(r *http.Request) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.steps++
	if k.at == 0 || !k.of(r) {
		return false
	}
	k.passed++
	if k.passed != k.at {
		return false
	}
	k.struck = fmt.Sprintf("%s %s, delivered: %t", r.Method, r.URL.Path, k.delivered)
	return true
}

func (k *knife) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.steps
}

// strike kills, once.
func (k *knife) strike() {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-k.cut:
	default:
		k.kill()
		close(k.cut)
	}
}

// sheathe ends its use and tells whether it struck: a request that is on its way
// still must not strike when nobody looks any more.
func (k *knife) sheathe() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kill = func() {}
	return k.isCut()
}

func (k *knife) isCut() bool {
	select {
	case <-k.cut:
		return true
	default:
		return false
	}
}

// pass lets a request through, or strikes.
func (k *knife) pass(r *http.Request, isStep bool, next http.RoundTripper) (*http.Response, error) {
	if k.isCut() {
		return nil, errCut
	}
	if isStep && k.step(r) {
		if k.delivered {
			if response, err := next.RoundTrip(r); err == nil {
				_, _ = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
			}
		}
		k.strike()
		return nil, errCut
	}
	response, err := next.RoundTrip(r)
	if err == nil && k.isCut() {
		_ = response.Body.Close()
		return nil, errCut
	}
	return response, err
}

// changes tells whether a request changes what has to survive. Events and
// leases need not.
func changes(r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead || r.URL.Path == oauth.PathToken || r.URL.Path == oauth.PathRevoke {
		return false
	}
	for _, resource := range []string{"/events", "/leases", "reviews"} {
		if strings.Contains(r.URL.Path, resource) {
			return false
		}
	}
	return true
}

// Kinds of steps. Most are status writes, and most of what can be lost is not.
func anyStep(*http.Request) bool { return true }

func onObjects(r *http.Request) bool {
	return !isManagement(r) && !strings.HasSuffix(r.URL.Path, "/status")
}

func onServer(r *http.Request) bool { return isManagement(r) }

// roundTrip is a function as an http.RoundTripper.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// proxy passes everything on to target. A request that fails gets no answer, as
// when a connection breaks.
func proxy(target string, transport http.RoundTripper, modify func(*http.Response) error) *httputil.ReverseProxy {
	address, err := url.Parse(target)
	if err != nil {
		panic(err)
	}
	return &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(address) },
		Transport:      transport,
		FlushInterval:  -1, // watches
		ModifyResponse: modify,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
}
