// SPDX-License-Identifier: Apache-2.0

// Command refresher keeps an access token fresh: in a directory of files, in a
// Secret that Pods share, or behind an endpoint of the Pod's own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"connectedapps.dev/operator/internal/options/refresheroptions"
	"connectedapps.dev/operator/internal/refresher"
)

// version is set by the linker.
var version = "dev"

const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	// A refresh needs a few hundred kilobytes every few minutes: collecting
	// early costs nothing and keeps the sidecar small.
	debug.SetGCPercent(25)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	options, err := refresheroptions.Parse(args, getenv, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "refresher: %v\nrefresher --help explains the flags and shows an example\n", err)
		return exitUsage
	case options.Version:
		_, _ = fmt.Fprintln(stdout, version)
		return 0
	}
	logger := slog.New(options.Handler(stderr))
	if err := refresh(ctx, options, logger); err != nil {
		logger.Error("exiting", "error", err)
		return exitFailed
	}
	return 0
}

func refresh(ctx context.Context, o *refresheroptions.Options, logger *slog.Logger) error {
	output, err := output(o)
	if err != nil {
		return err
	}
	engine := &refresher.Engine{
		Source: frugal{&refresher.ClientSecretSource{
			Credentials: refresher.DirectoryCredentials(o.CredentialsDir, o.TokenURL),
			Scope:       o.Scope,
			Encoding:    o.RequestFormat,
		}},
		Output: output,
		Logger: logger,
	}
	shutdown, err := serveHealth(o.HealthListen, engine, logger)
	if err != nil {
		return err
	}
	defer shutdown()
	shutdownToken, err := serveToken(o.Serve, engine, logger)
	if err != nil {
		return err
	}
	defer shutdownToken()
	logger.Info("starting", "version", version, "credentials_dir", o.CredentialsDir, "output_dir", o.OutputDir, "secret", o.Secret)
	if o.Once {
		return once(ctx, engine, o.OnceTimeout)
	}
	engine.Run(ctx)
	return nil
}

// frugal gives the memory of each request back at once: the next one is minutes
// away, and every Pod pays for what is kept until then.
type frugal struct{ refresher.Source }

func (f frugal) Token(ctx context.Context) (*refresher.Token, error) {
	defer debug.FreeOSMemory()
	return f.Source.Token(ctx)
}

func once(ctx context.Context, engine *refresher.Engine, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := engine.Once(ctx); err != nil {
		return fmt.Errorf("no token within %s: %w", timeout, err)
	}
	return nil
}

// serveHealth serves the probes on address until the returned function is
// called. It serves nothing when address is empty.
func serveHealth(address string, engine *refresher.Engine, logger *slog.Logger) (shutdown func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for probes: %w", err)
	}
	logger.Info("serving probes", "address", listener.Addr().String())
	server := newServer(engine.HealthHandler(), logger)
	go func() { _ = server.Serve(listener) }()
	return func() { _ = server.Close() }, nil
}

func newServer(handler http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      5 * time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
}
