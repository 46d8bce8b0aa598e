// SPDX-License-Identifier: Apache-2.0

// Package httpserver makes the HTTP servers of the programs, with a bound on all
// that a slow or hostile peer can hold: connections, the time of each step, the
// headers, and lines in the log.
//
// They speak HTTP/1.1 alone, so that a connection has one request at a time and
// the bound on connections is one on requests, on their bodies and on the work
// for them.
package httpserver

import (
	"log/slog"
	"net/http"
	"time"
)

// Limits are those of one server. Zero is no limit, but for Connections.
type Limits struct {
	// Connections is how many are open at once, at least 1. One more takes the place
	// of the one that has done nothing for longest.
	Connections int
	// Header is how long a request's headers may take, and a TLS handshake; Read
	// the request as a whole; Write the answer, from the end of the headers.
	Header, Read, Write time.Duration
	// Idle is how long a connection waits for the next request.
	Idle time.Duration
	// HeaderBytes is how long the request line and the headers may be together.
	HeaderBytes int
}

// Operations are the limits of a port for probes and metrics, which only a few ask.
func Operations() Limits {
	return Limits{
		Connections: 64, Header: 5 * time.Second, Read: 5 * time.Second, Write: 30 * time.Second, Idle: 30 * time.Second, HeaderBytes: 8 << 10,
	}
}

// New makes a server. What goes wrong with connections is logged, but no more than
// one line per second: whoever connects could write any number.
func New(handler http.Handler, logger *slog.Logger, limits Limits) *http.Server {
	open := newConnections(limits.Connections)
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:           handler,
		Protocols:         protocols,
		ConnState:         open.state,
		ReadHeaderTimeout: limits.Header,
		ReadTimeout:       limits.Read,
		WriteTimeout:      limits.Write,
		IdleTimeout:       limits.Idle,
		MaxHeaderBytes:    limits.HeaderBytes,
		ErrorLog:          errorLog(logger),
	}
}
