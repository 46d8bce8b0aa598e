// SPDX-License-Identifier: Apache-2.0

// Command bench runs benchmarks, prints what they measured as one table with a bar for
// each row, says which rows fell by more than a tenth, and keeps the rows in
// docs/benchmarks.md with the commit they were measured at.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"time"

	"connectedapps.dev/operator/test/report"
)

const document = "docs/benchmarks.md"

const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

type options struct {
	short, strict bool
	chosen        []benchmark
}

func run(ctx context.Context, args []string) int {
	o, err := parse(args, os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		return exitUsage
	}
	if err := measure(ctx, o); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		return exitFailed
	}
	return 0
}

func parse(args []string, help io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.BoolVar(&o.short, "short", false, "")
	flags.BoolVar(&o.strict, "strict", false, "")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			_, _ = io.WriteString(help, usage())
		}
		return o, err
	}
	o.chosen, err = choose(flags.Args())
	return o, err
}

func usage() string {
	var out strings.Builder
	out.WriteString(`Usage: make bench [BENCH='NAME...'] [SHORT=1] [STRICT=1]

SHORT=1 shows that all of it works, in minutes: the numbers mean little and are not kept.
STRICT=1 fails when a row fell by more than a tenth, or misses its budget.
BENCH takes names of benchmarks; without it those with a * are run.

`)
	for _, b := range benchmarks {
		star := " "
		if b.usual {
			star = "*"
		}
		fmt.Fprintf(&out, "%s %-18s %8s  %s\n", star, b.name, b.takes, b.measures)
	}
	return out.String()
}

// measure runs the benchmarks and says what came of them.
func measure(ctx context.Context, o options) error {
	text, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	before, err := report.Read(string(text))
	if err != nil {
		return fmt.Errorf("reading %s: %w", document, err)
	}
	if o.short {
		before = nil // of a long run
	}
	var rows, complete []report.Row
	var failures []error
	for _, g := range grouped(o.chosen) {
		measured, err := g.run(ctx, o.short)
		rows = append(rows, measured...)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		complete = append(complete, measured...)
	}
	fmt.Printf("\n%s\n", report.Table(rows, before))
	fallen := report.Fallen(rows, before)
	say("fell by more than a tenth", fallen)
	over := missed(rows)
	say("missed their budgets", over)
	// A package whose benchmarks failed keeps its old rows.
	if err := errors.Join(append(failures, keep(ctx, o.short, string(text), complete))...); err != nil {
		return err
	}
	if o.strict && len(fallen)+len(over) > 0 {
		return errors.New("rows fell, or missed their budgets")
	}
	return nil
}

func missed(rows []report.Row) (over []report.Row) {
	for _, r := range rows {
		if r.Over() {
			over = append(over, r)
		}
	}
	return over
}

func say(what string, rows []report.Row) {
	fmt.Printf("rows that %s: %d\n", what, len(rows))
	for _, r := range rows {
		fmt.Printf("  %s: %s\n", r.Benchmark, r.Name)
	}
}

func keep(ctx context.Context, short bool, text string, rows []report.Row) error {
	if len(rows) == 0 {
		return nil
	}
	if short {
		fmt.Printf("a short run is not kept in %s\n", document)
		return nil
	}
	commit, err := exec.CommandContext(context.WithoutCancel(ctx), "git", "describe", "--always", "--dirty", "--abbrev=7", "--exclude=*").Output()
	if err != nil {
		return fmt.Errorf("asking git for the commit: %w", err)
	}
	kept, err := report.Keep(text, rows, strings.TrimSpace(string(commit)))
	if err != nil {
		return fmt.Errorf("keeping the rows in %s: %w", document, err)
	}
	fmt.Printf("kept in %s; git diff shows what changed\n", document)
	return os.WriteFile(document, []byte(kept), 0o644)
}

// elapsed is how long something takes, for people.
func elapsed(since time.Time) string { return time.Since(since).Round(time.Second).String() }
