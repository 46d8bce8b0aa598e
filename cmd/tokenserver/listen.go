// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"connectedapps.dev/operator/internal/httpserver"
	"connectedapps.dev/operator/internal/options/tokenserveroptions"
)

// drainTimeout is less than the 30 s Kubernetes gives a Pod.
const drainTimeout = 25 * time.Second

// publicLimits are what a slow or hostile client may hold.
func publicLimits(connections int) httpserver.Limits {
	return httpserver.Limits{
		Connections: connections, Header: 10 * time.Second, Read: 30 * time.Second, Write: 60 * time.Second, Idle: 2 * time.Minute, HeaderBytes: 32 << 10,
	}
}

// listeners are the two open ports.
type listeners struct{ public, operations net.Listener }

func listen(config *tokenserveroptions.Config) (*listeners, error) {
	public, err := net.Listen("tcp", config.Listen)
	if err != nil {
		return nil, fmt.Errorf("listening for clients: %w", err)
	}
	operations, err := net.Listen("tcp", config.OperationsListen)
	if err != nil {
		_ = public.Close()
		return nil, fmt.Errorf("listening for operations: %w", err)
	}
	return &listeners{public: public, operations: operations}, nil
}

// serve answers on both ports until ctx ends or something fails, then drains.
func (p *process) serve(ctx context.Context, broken <-chan error) error {
	public := httpserver.New(p.ahead(func(f *front) http.Handler { return f.public }), p.logger, publicLimits(p.config.MaxConnections))
	operations := httpserver.New(p.ahead(func(f *front) http.Handler { return f.operations }), p.logger, httpserver.Operations())
	failed := make(chan error, 2)
	go func() { failed <- operations.Serve(p.listeners.operations) }()
	go func() { failed <- p.servePublic(public) }()
	p.logger.Info("serving", "version", version, "public_url", p.reloader.started.PublicURL,
		"address", p.listeners.public.Addr().String(), "operations_address", p.listeners.operations.Addr().String())
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		err = fmt.Errorf("serving: %w", err)
	case err = <-broken:
	}
	return errors.Join(err, p.drain(public), operations.Close())
}

// ahead hands every request to the server that answers at present.
func (p *process) ahead(port func(*front) http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { port(p.front.Load()).ServeHTTP(w, r) })
}

func (p *process) servePublic(server *http.Server) error {
	certificate := p.reloader.certificate
	if certificate == nil {
		return server.Serve(p.listeners.public)
	}
	server.TLSConfig = &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate.Load(), nil },
	}
	return server.ServeTLS(p.listeners.public, "", "")
}

// drain tells the probes, waits for them to be noticed, and finishes the
// requests that have begun.
func (p *process) drain(public *http.Server) error {
	p.front.Load().drain()
	p.logger.Info("draining", "delay", p.flags.drainDelay)
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	time.Sleep(p.flags.drainDelay)
	if err := public.Shutdown(ctx); err != nil {
		p.logger.Warn("closing requests that did not end in time", "error", err)
		return public.Close()
	}
	p.logger.Info("stopped")
	return nil
}
