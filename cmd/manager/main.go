// SPDX-License-Identifier: Apache-2.0

// Command manager runs the controllers of TokenServers, ConnectedApps and
// AccessTokens.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"connectedapps.dev/operator/internal/options/manageroptions"
	"connectedapps.dev/operator/internal/tracing"
)

// version is set by the linker.
var version = "dev"

const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	options, err := manageroptions.Parse(args, getenv, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "manager: %v\nmanager --help explains the flags\n", err)
		return exitUsage
	case options.Version:
		_, _ = fmt.Fprintln(stdout, version)
		return 0
	}
	handler := options.Handler(stderr)
	ctrl.SetLogger(logr.FromSlogHandler(handler))
	klog.SetLogger(logr.FromSlogHandler(handler))
	logger := slog.New(handler)
	logger.Info("starting", "version", version, "namespace", options.Namespace)
	spans, err := tracing.Start(options.Tracing, tracing.Service{Name: "manager", Version: version}, logger)
	if err != nil {
		logger.Error("exiting", "error", fmt.Errorf("starting the tracing: %w", err))
		return exitFailed
	}
	defer closeSpans(spans)
	if err := manage(ctx, options, spans); err != nil {
		logger.Error("exiting", "error", err)
		return exitFailed
	}
	return 0
}

// closeSpans sends the last spans, which may take two seconds.
func closeSpans(spans *tracing.Tracing) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	spans.Close(ctx)
}
