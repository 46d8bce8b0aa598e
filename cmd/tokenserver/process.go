// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"connectedapps.dev/operator/internal/options/tokenserveroptions"
	"connectedapps.dev/operator/internal/tokenserver"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/logqueue"
	"connectedapps.dev/operator/internal/tokenserver/metrics"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/user"
	"connectedapps.dev/operator/internal/tracing"
)

// process is everything that serve runs.
type process struct {
	flags     serveFlags
	config    *tokenserveroptions.Config
	logger    *slog.Logger
	spans     *tracing.Tracing
	lines     *logqueue.Writer
	listeners *listeners
	reloader  *reloader
	passwords *user.Workers
	// store is nil until the database is open.
	store  storage.Storage
	server *tokenserver.Server
	// front is what answers: first, and while a PostgreSQL server does not answer,
	// a server without a database.
	front atomic.Pointer[front]
	// told is why the database could not be opened, as it was logged last.
	told string
}

// front is a server as its ports see it.
type front struct {
	public, operations http.Handler
	drain              func()
}

// assemble builds what serve runs; nothing serves yet. A file is opened before
// anybody listens, or not at all; a database server may be out of reach.
func assemble(
	ctx context.Context, f serveFlags, w *waiter, loaded *tokenserveroptions.Loaded, logger *slog.Logger, lines *logqueue.Writer,
) (*process, error) {
	spans, err := tracing.Start(loaded.Config.Tracing, tracing.Service{Name: "tokenserver", Version: version}, logger)
	if err != nil {
		return nil, fmt.Errorf("starting the tracing: %w", err)
	}
	logger = slog.New(spans.Handler(logger.Handler()))
	r, err := newReloader(f, loaded, logger)
	if err != nil {
		return nil, err
	}
	p := &process{flags: f, config: loaded.Config, logger: logger, spans: spans, lines: lines, reloader: r, passwords: passwordWorkers(logger)}
	err = w.database(ctx, func() error { return p.open(ctx) })
	if unanswered(err) && ctx.Err() == nil {
		p.tell(err)
		err = p.begin(ctx)
	}
	if err == nil {
		p.listeners, err = listen(p.config)
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// begin builds the server that answers while there is no database.
func (p *process) begin(ctx context.Context) error {
	registry, err := p.newRegistry()
	if err != nil {
		return err
	}
	server, err := tokenserver.NewStarting(ctx, p.serverConfig(registry))
	if err != nil {
		return fmt.Errorf("building the server: %w", err)
	}
	p.show(server)
	return nil
}

// open opens the database, brings the apps of the configuration into it, and builds
// the server on it.
func (p *process) open(ctx context.Context) (err error) {
	store, keyring, err := openDatabase(ctx, p.config, firstKeys)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = awaited(p.config.Storage, errors.Join(err, store.Close()))
		}
	}()
	p.reloader.opened(store, keyring)
	if err := p.reloader.applyApps(ctx); err != nil {
		return err
	}
	registry, err := p.newRegistry()
	if err != nil {
		return err
	}
	config := p.serverConfig(registry)
	config.Store, config.Keyring, config.Restored = store, keyring, p.reloader.applyApps
	server, err := tokenserver.New(ctx, config)
	if err != nil {
		return fmt.Errorf("building the server: %w", err)
	}
	p.reloader.take = server.TakeDirectory
	p.store, p.server = store, server
	p.show(server)
	return nil
}

// newRegistry makes one for a server: the one without a database and its successor
// have the same metrics.
func (p *process) newRegistry() (*prometheus.Registry, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registry.MustRegister(p.reloader.metrics()...)
	return registry, metrics.WatchLog(registry, p.lines.Stats)
}

// serverConfig is all but the database.
func (p *process) serverConfig(registry *prometheus.Registry) tokenserver.Config {
	c := p.config
	return tokenserver.Config{
		PublicURL: c.PublicURL, Directory: p.reloader.directory, Workloads: p.reloader.workloads, Logger: p.logger, Registry: registry, Version: version,
		AccessTokenLifetime: c.AccessTokenLifetime, MaxStale: c.MaxStale, RecoverableSecrets: c.RecoverableSecrets,
		LoginDisabled: !c.LoginEndpoint, DerivePassword: p.passwords.Derive, Shared: c.Storage.PostgreSQL != nil,
		Source: httpx.Proxies(c.ProxyPrefixes()).Of, Tracer: p.spans.Tracer(),
	}
}

func (p *process) show(server *tokenserver.Server) {
	p.front.Store(&front{public: server.Handler(), operations: server.OperationsHandler(), drain: server.Drain})
}

// openRetry is the pause after a try to open the database that failed.
const openRetry = time.Second

// awaitDatabase tries until the database is open or ctx ends. Its error is one that
// waiting does not mend.
func (p *process) awaitDatabase(ctx context.Context) error {
	for p.store == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(openRetry):
		}
		err := p.open(ctx)
		switch {
		case err == nil:
			p.logger.Info("the database is open")
			if ctx.Err() != nil {
				p.server.Drain()
			}
		case ctx.Err() != nil:
			return nil //nolint:nilerr // given up
		case !unanswered(err):
			return err
		default:
			p.tell(err)
		}
	}
	return nil
}

// tell logs why the database cannot be used yet, once as long as that stays the
// same.
func (p *process) tell(err error) {
	if p.told == err.Error() {
		return
	}
	p.told = err.Error()
	p.logger.Error("the database cannot be used yet: answering 503 and trying again every second", "error", err, "hint", hintFor(err))
}

// run serves until ctx ends, and then until what has begun is finished.
func (p *process) run(ctx context.Context) error {
	// The loops outlive the requests, which may still have something to write.
	loops, stopLoops := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	failed := make(chan error, 1)
	running.Go(func() {
		if err := p.awaitDatabase(ctx); err != nil {
			failed <- err
		}
		if p.store != nil {
			running.Go(func() { p.server.Run(loops) })
			running.Go(func() { p.reloader.watch(loops) })
		}
	})
	err := p.serve(ctx, failed)
	stopLoops()
	running.Wait()
	return errors.Join(err, p.close())
}

// spansPatience is how long the last spans may take on their way.
const spansPatience = 2 * time.Second

func (p *process) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), spansPatience)
	defer cancel()
	p.spans.Close(ctx)
	if p.store == nil {
		return nil
	}
	return p.store.Close()
}
