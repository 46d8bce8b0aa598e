// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"connectedapps.dev/operator/internal/tokenserver/user"
)

func userCommand() *cobra.Command {
	return group("user", "Work on local users", userHashCommand(), userDeriveCommand())
}

func userHashCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "hash",
		Short: "Print the hash of a password for a passwordHashFile",
		Long: `hash reads a password and prints its argon2id hash, the content of a
passwordHashFile. On a terminal it asks twice, without echo; otherwise it reads
the first line of standard input. The password is never an argument: arguments
can be seen by every process of the machine.`,
		Example: `  tokenserver user hash > alice.hash
  pass show tokenserver/alice | tokenserver user hash > alice.hash`,
		// Not cobra.NoArgs, which would repeat the argument: it may be a password.
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return errors.New("user hash: takes no arguments: it reads the password from the terminal or standard input")
			}
			return nil
		},
		RunE: doing(func(cmd *cobra.Command, _ []string) error {
			password, err := readPassword(cmd.InOrStdin(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			hash, err := user.HashPassword(password)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), hash)
			return err
		}),
	}
}

func readPassword(in io.Reader, prompt io.Writer) (string, error) {
	if file, ok := in.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return askPassword(int(file.Fd()), prompt)
	}
	line, err := bufio.NewReader(io.LimitReader(in, 2*user.MaxPasswordLength)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

func askPassword(terminal int, prompt io.Writer) (string, error) {
	var answers [2]string
	for i, question := range []string{"Password: ", "Again: "} {
		_, _ = fmt.Fprint(prompt, question)
		answer, err := term.ReadPassword(terminal)
		_, _ = fmt.Fprintln(prompt)
		if err != nil {
			return "", fmt.Errorf("reading the password: %w", err)
		}
		answers[i] = string(answer)
	}
	if answers[0] != answers[1] {
		return "", errors.New("reading the password: the two are not the same")
	}
	return answers[0], nil
}

// deriving is the command of a process for password checks.
const deriving = "derive"

func userDeriveCommand() *cobra.Command {
	return &cobra.Command{
		Use: deriving, Short: "Check passwords for a server, which starts this itself", Hidden: true, Args: cobra.NoArgs,
		RunE: doing(func(cmd *cobra.Command, _ []string) error { return user.Work(cmd.InOrStdin(), cmd.OutOrStdout()) }),
	}
}

// passwordWorkers are processes of this program, also when another version of it
// has taken its place on disk.
func passwordWorkers(logger *slog.Logger) *user.Workers {
	program := "/proc/self/exe"
	if _, err := os.Stat(program); err != nil {
		program, _ = os.Executable()
	}
	return &user.Workers{Logger: logger, Command: func() *exec.Cmd {
		command := exec.Command(program, "user", deriving) //nolint:noctx // it ends with this process
		command.Args[0] = "tokenserver"
		// One derivation at a time, and nothing of ours that it could tell.
		command.Env, command.Stderr = []string{"GOMAXPROCS=1"}, os.Stderr
		return command
	}}
}
