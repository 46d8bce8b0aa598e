// SPDX-License-Identifier: Apache-2.0

// Package health serves the probes and the metrics on the operations port.
package health

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"connectedapps.dev/operator/internal/tokenserver/httpx"
)

// Endpoint serves /healthz, /readyz and /metrics.
type Endpoint struct {
	Gatherer prometheus.Gatherer
	// Confirmed is when the database last answered; the zero time: never.
	Confirmed func() time.Time
	// StaleAfter is how old that may be before the body says so.
	StaleAfter time.Duration
	Now        func() time.Time
	// Loaded tells whether keys and apps are in memory.
	Loaded func() bool

	draining atomic.Bool
}

// Drain makes the server unready for good, so that no new request is sent to
// it before it stops.
func (e *Endpoint) Drain() { e.draining.Store(true) }

// Draining tells that Drain was called.
func (e *Endpoint) Draining() bool { return e.draining.Load() }

// Mount adds the endpoint to mux.
func (e *Endpoint) Mount(mux httpx.Router) {
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok") })
	mux.HandleFunc("/readyz", e.ready)
	mux.Handle("/metrics", promhttp.HandlerFor(e.Gatherer, promhttp.HandlerOpts{}))
}

// ready stays 200 when the database is lost later: what is in memory goes on
// being served, and taking every replica out would help nobody.
func (e *Endpoint) ready(w http.ResponseWriter, _ *http.Request) {
	switch {
	case e.draining.Load():
		text(w, http.StatusServiceUnavailable, "stopping")
	case !e.Loaded():
		text(w, http.StatusServiceUnavailable, "keys and apps are not loaded yet")
	default:
		text(w, http.StatusOK, "keys and apps: loaded", e.database())
	}
}

func (e *Endpoint) database() string {
	if age := e.Now().Sub(e.Confirmed()); age > e.StaleAfter {
		return fmt.Sprintf("database: no answer for %s", age.Round(time.Second))
	}
	return "database: answering"
}

func text(w http.ResponseWriter, status int, lines ...string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(strings.Join(lines, "\n") + "\n"))
}
