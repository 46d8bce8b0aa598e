// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/cert"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"

	"connectedapps.dev/operator/internal/httpserver"
	"connectedapps.dev/operator/internal/options/manageroptions"
)

// off tells that an address switches its port off.
func off(address string) bool { return address == "" || address == "0" }

// addProbes serves the probes.
func addProbes(mgr ctrl.Manager, address string) error {
	if off(address) {
		return nil
	}
	server, err := probes(address, slog.New(logr.ToSlogHandler(mgr.GetLogger())))
	if err != nil {
		return err
	}
	return mgr.Add(server)
}

// probes are answered whoever else connects. A manager that waits to be the leader
// is ready.
func probes(address string, logger *slog.Logger) (*manager.Server, error) {
	mux := http.NewServeMux()
	for _, path := range []string{"/healthz", "/readyz"} {
		checks := http.StripPrefix(path, &healthz.Handler{Checks: map[string]healthz.Checker{"ping": healthz.Ping}})
		mux.Handle(path, checks)
		mux.Handle(path+"/", checks)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for probes: %w", err)
	}
	return operations("health probe", mux, listener, logger), nil
}

func operations(name string, handler http.Handler, listener net.Listener, logger *slog.Logger) *manager.Server {
	timeout := shutdownTimeout
	return &manager.Server{
		Name: name, Server: httpserver.New(handler, logger, httpserver.Operations()), Listener: listener, ShutdownTimeout: &timeout,
	}
}

// addMetrics serves /metrics, over TLS to those whom the API server lets or plain to
// anybody. The server that controller-runtime has for it takes any number of
// connections.
func addMetrics(mgr ctrl.Manager, o *manageroptions.Options) error {
	if off(o.MetricsBindAddress) {
		return nil
	}
	handler := promhttp.HandlerFor(metrics.Registry, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError})
	logger := mgr.GetLogger().WithName("metrics")
	if o.MetricsSecure {
		var err error
		if handler, err = guarded(handler, mgr.GetConfig(), mgr.GetHTTPClient(), logger); err != nil {
			return fmt.Errorf("guarding metrics: %w", err)
		}
	}
	server, err := metricsServer(o.MetricsBindAddress, o.MetricsSecure, handler, slog.New(logr.ToSlogHandler(logger)))
	if err != nil {
		return err
	}
	return mgr.Add(server)
}

// guarded answers those whom the API server lets.
func guarded(handler http.Handler, config *rest.Config, client *http.Client, logger logr.Logger) (http.Handler, error) {
	filter, err := filters.WithAuthenticationAndAuthorization(config, client)
	if err != nil {
		return nil, err
	}
	return filter(logger, handler)
}

func metricsServer(address string, secure bool, handler http.Handler, logger *slog.Logger) (*manager.Server, error) {
	var certificate tls.Certificate
	if secure {
		var err error
		if certificate, err = selfSigned(); err != nil {
			return nil, fmt.Errorf("making a certificate for metrics: %w", err)
		}
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for metrics: %w", err)
	}
	if secure {
		listener = tls.NewListener(listener, &tls.Config{
			MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, Certificates: []tls.Certificate{certificate},
		})
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", handler)
	return operations("metrics", mux, listener, logger), nil
}

// selfSigned keeps tokens of scrapers from whoever only listens.
func selfSigned() (tls.Certificate, error) {
	chain, key, err := cert.GenerateSelfSignedCertKey("localhost", []net.IP{net.IPv4(127, 0, 0, 1)}, nil)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(chain, key)
}
