// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"net/http"
	"net/http/httptest"
	"time"
)

// Fault is what goes wrong with one request. The zero value is nothing.
type Fault struct {
	// Delay passes before anything else happens.
	Delay time.Duration
	// Status and Message are answered in place of the platform's own answer; 0
	// leaves that.
	Status  int
	Message string
	// Drop closes the connection without an answer.
	Drop bool
	// Done lets the platform do what it was asked before Status or Drop.
	Done bool
}

// Inject has each request ask choose what goes wrong with it; nil ends all
// faults. choose is called by several goroutines.
func (p *Platform) Inject(choose func(*http.Request) Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = choose
}

// Calls counts the requests that arrived by method and path, those that met a
// fault as well.
func (p *Platform) Calls(method, path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[method+" "+path]
}

// meet serves a request with the fault that was chosen for it.
func (p *Platform) meet(w http.ResponseWriter, r *http.Request, next http.Handler) {
	fault := p.arrived(r)
	if fault.Delay > 0 {
		select {
		case <-time.After(fault.Delay):
		case <-r.Context().Done():
		}
	}
	switch {
	case fault.Status == 0 && !fault.Drop:
		next.ServeHTTP(w, r)
		return
	case fault.Done:
		next.ServeHTTP(httptest.NewRecorder(), r)
	}
	if fault.Drop {
		panic(http.ErrAbortHandler)
	}
	refuse(w, fault.Status, fault.Message)
}

func (p *Platform) arrived(r *http.Request) Fault {
	p.mu.Lock()
	p.calls[r.Method+" "+r.URL.Path]++
	choose := p.fault
	p.mu.Unlock()
	if choose == nil {
		return Fault{}
	}
	return choose(r)
}
