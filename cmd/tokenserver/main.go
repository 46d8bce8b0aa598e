// SPDX-License-Identifier: Apache-2.0

// Command tokenserver is an OAuth 2.0 authorization server with the management
// API of connected apps.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// version is set by the linker.
var version = "dev"

const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	// A limit on the size of files is an error of the write that meets it, not a
	// reason to die without a word.
	signal.Ignore(syscall.SIGXFSZ)
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	_, _ = fmt.Fprintf(stderr, "tokenserver: %v\n", err)
	var failed *failure
	if !errors.As(err, &failed) {
		_, _ = fmt.Fprintln(stderr, "hint: tokenserver --help shows the commands, tokenserver COMMAND --help the flags and examples")
		return exitUsage
	}
	if hint := hintFor(err); hint != "" {
		_, _ = fmt.Fprintf(stderr, "hint: %s\n", hint)
	}
	return exitFailed
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "tokenserver",
		Short: "OAuth 2.0 authorization server with the management API of connected apps",
		Long: `tokenserver is an OAuth 2.0 authorization server with the management API of
connected apps. One configuration file says everything; the database is a
SQLite file, or PostgreSQL for several servers.

Start it on this machine:

  tokenserver config init       # writes a configuration, its keys and a user
  tokenserver serve

Then edit tokenserver.yaml; a running server takes changes over.
docs/tokenserver-configuration.md explains every field.

Exit status: 0 when done or stopped by SIGTERM; 1 when something failed, with
the reason and a hint on standard error; 2 for wrong usage. A flag --log-format
may also be set by the variable TOKENSERVER_LOG_FORMAT, and so on. No flag takes
a secret.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return setFromEnvironment(cmd.Flags())
		},
	}
	root.AddCommand(serveCommand(), configCommand(), userCommand(), keysCommand(), databaseCommand(), versionCommand())
	return root
}

// group is a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(commands...)
	return cmd
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) { _, _ = fmt.Fprintln(cmd.OutOrStdout(), version) },
	}
}

const envPrefix = "TOKENSERVER_"

// setFromEnvironment sets the flags that the arguments do not.
func setFromEnvironment(flags *pflag.FlagSet) error {
	var problems []error
	flags.VisitAll(func(f *pflag.Flag) {
		name := envPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value := os.Getenv(name)
		if f.Changed || value == "" || f.Name == "help" {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			problems = append(problems, fmt.Errorf("variable %s: %w", name, err))
		}
	})
	return errors.Join(problems...)
}
