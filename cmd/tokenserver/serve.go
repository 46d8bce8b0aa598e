// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"connectedapps.dev/operator/internal/heap"
	"connectedapps.dev/operator/internal/options/tokenserveroptions"
	"connectedapps.dev/operator/internal/tokenserver/logline"
	"connectedapps.dev/operator/internal/tokenserver/logqueue"
)

// serveFlags are the flags of serve.
type serveFlags struct {
	config     string
	wait       time.Duration
	overrides  tokenserveroptions.Overrides
	drainDelay time.Duration
	logFormat  string
	logLevel   string
}

func serveCommand() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server until SIGTERM or SIGINT",
		Long: `serve runs the server until SIGTERM or SIGINT. Then /readyz answers 503,
requests that have begun are finished, and it exits with status 0 after at most
25 seconds; a second signal ends it at once.

A PostgreSQL server that does not answer at the start, or does not let us in, is
waited for without end: meanwhile requests are answered 503, and so is /readyz.

The configuration file, the certificate, the password hashes, the secrets and keys
of apps, the administrator's secret and JWK Sets are read again within seconds after they
changed. A bad edit keeps what was there before and is logged; settings that need
a restart are named in the log.`,
		Example: `  tokenserver serve --config=tokenserver.yaml
  tokenserver serve --config=/etc/tokenserver/config/config.yaml --wait=2m --log-format=json
  tokenserver serve --listen=127.0.0.1:9090 --operations-listen=127.0.0.1:9091`,
		Args: cobra.NoArgs,
		PreRunE: func(*cobra.Command, []string) error {
			return f.validate()
		},
		RunE: doing(func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), f, cmd.ErrOrStderr())
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", fileConfig, "configuration `file`")
	flags.DurationVar(&f.wait, "wait", 0,
		"how long to wait for the configuration file and those it names, as in a Pod whose Secrets are still being made, "+
			"and for another process to close a SQLite database (default 0s: not at all)")
	flags.DurationVar(&f.wait, "wait-for-files", 0, "the earlier name of --wait (default 0s)")
	flags.StringVar(&f.overrides.Listen, "listen", "", "`address` of the endpoints (default: as the configuration says)")
	flags.StringVar(&f.overrides.OperationsListen, "operations-listen", "", "`address` of /healthz, /readyz and /metrics (default: as the configuration says)")
	flags.DurationVar(&f.drainDelay, "drain-delay", 0,
		"how long to go on taking requests after SIGTERM while /readyz answers 503, for load balancers to notice; at most 20s (default 0s)")
	flags.StringVar(&f.logFormat, "log-format", "text", "`format` of the log on standard error: text or json")
	flags.StringVar(&f.logLevel, "log-level", "info", "least `level` that is logged: debug, info, warn or error")
	return cmd
}

const maxDrainDelay = 20 * time.Second

func (f *serveFlags) validate() error {
	var problems []error
	var level slog.Level
	if f.logFormat != "text" && f.logFormat != "json" {
		problems = append(problems, fmt.Errorf("--log-format must be text or json, not %q", f.logFormat))
	}
	if level.UnmarshalText([]byte(f.logLevel)) != nil {
		problems = append(problems, fmt.Errorf("--log-level must be debug, info, warn or error, not %q", f.logLevel))
	}
	if f.wait < 0 {
		problems = append(problems, errors.New("--wait must not be negative"))
	}
	if f.drainDelay < 0 || f.drainDelay > maxDrainDelay {
		problems = append(problems, fmt.Errorf("--drain-delay must be from 0s to %s", maxDrainDelay))
	}
	return errors.Join(problems...)
}

func (f *serveFlags) logger(w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(f.logLevel)) // validated
	if f.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
	}
	return slog.New(logline.NewTextHandler(w, level))
}

// lostLines is the line of the log about those that could not be written.
func (f *serveFlags) lostLines(n int) []byte {
	var line bytes.Buffer
	f.logger(&line).Warn("log lines were lost: the log could not be written, or nobody read it", "lines", n)
	return line.Bytes()
}

// heapFloor is how far the heap grows before it is collected. With what else the process
// takes, it stays below 64 MiB, which the Deployment asks for.
const heapFloor = 28 << 20

func serve(ctx context.Context, f serveFlags, stderr io.Writer) error {
	heap.KeepFloor(heapFloor)
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	// The second signal finds the default behaviour: it ends the program.
	context.AfterFunc(ctx, stop)
	lines := logqueue.New(stderr, f.lostLines)
	defer lines.Close()
	logger := f.logger(lines)
	w, release := newWaiter(ctx, f.wait, logger)
	defer release()
	p, err := prepare(ctx, f, w, logger, lines)
	// Stopped before it began.
	if err != nil && ctx.Err() != nil {
		logger.Info("stopped")
		return nil
	}
	if err != nil {
		return err
	}
	return p.run(ctx)
}

// prepare waits for what serve needs, loads and assembles it.
func prepare(ctx context.Context, f serveFlags, w *waiter, logger *slog.Logger, lines *logqueue.Writer) (*process, error) {
	if err := w.files(ctx, f.config); err != nil {
		return nil, err
	}
	loaded, err := tokenserveroptions.Load(f.config, f.overrides)
	if err != nil {
		return nil, fmt.Errorf("loading %s: %w", f.config, err)
	}
	for _, warning := range loaded.Warnings {
		logger.Warn("probably not meant", "warning", warning)
	}
	return assemble(ctx, f, w, loaded, logger, lines)
}
