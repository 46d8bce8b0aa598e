// SPDX-License-Identifier: Apache-2.0

// Command refresher keeps an access token fresh in a directory of files.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"connectedapps.dev/operator/internal/httpserver"
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

// refresh keeps all tokens fresh, each in a loop of its own.
func refresh(ctx context.Context, o *refresheroptions.Options, logger *slog.Logger) error {
	tokens, release, err := prepare(o.Tokens, logger)
	if err != nil {
		return err
	}
	defer release()
	shutdown, err := serveHealth(o.HealthListen, tokens.engines(), logger)
	if err != nil {
		return err
	}
	defer shutdown()
	for _, token := range tokens {
		stop, err := serveToken(token.Serve, token.engine, token.engine.Logger)
		if err != nil {
			return err
		}
		defer stop()
		token.engine.Logger.Info("starting", "version", version,
			"credentials_dir", token.CredentialsDir, "output_dir", token.OutputDir, "secret", token.Secret)
	}
	if o.Once {
		return tokens.once(ctx, o.OnceTimeout)
	}
	tokens.run(ctx, logger)
	return nil
}

// serveHealth serves the probes on address until the returned function is
// called. It serves nothing when address is empty.
func serveHealth(address string, engines []*refresher.Engine, logger *slog.Logger) (shutdown func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for probes: %w", err)
	}
	logger.Info("serving probes", "address", listener.Addr().String())
	server := httpserver.New(refresher.HealthHandler(engines...), logger, limits())
	go func() { _ = server.Serve(listener) }()
	return func() { _ = server.Close() }, nil
}

// limits are those of both ports: neighbours in the Pod ask, and the kubelet.
func limits() httpserver.Limits {
	return httpserver.Limits{
		Connections: 64, Header: 5 * time.Second, Read: 5 * time.Second, Write: 5 * time.Second, Idle: 30 * time.Second, HeaderBytes: 8 << 10,
	}
}
