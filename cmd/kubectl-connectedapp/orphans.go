// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"connectedapps.dev/operator/internal/plugin"
)

func (c *cluster) orphansCommand() *cobra.Command {
	var remove, yes bool
	var tokenFile string
	var o plugin.OrphansOptions
	command := &cobra.Command{
		Use:   "orphans [--delete (CLIENT_ID... | --all)]",
		Short: "List the clients on a token server that no ConnectedApp has any more",
		Long: `List the clients on a token server that ConnectedApps of this cluster made and that
have none any more: left by deletionPolicy Orphan, with their namespace, or by a
restored backup; and those that the manager is about to delete. --delete deletes
what was left behind, after a question. Clients of a ConnectedApp, of another
cluster and of other origin are never deleted.

It is for platform teams: it reads TokenServers, the ConnectedApps of all
namespaces, the namespace kube-system, and in the manager's namespace ConfigMaps
and the Secret of the TokenServer, to log in as the manager does. --token-file
takes an access token in place of that Secret, with the scope read:orgconnapps, and
manage:orgconnapps to delete.

-o name writes the client ids.`,
		Example: `  kubectl connectedapp orphans
  kubectl connectedapp orphans --token-server default --delete 4f1c0e2ab7d94c6f8a35d2e19b604c7d
  get-token | kubectl connectedapp orphans --token-file -`,
		RunE: func(command *cobra.Command, args []string) error {
			o.ClientIDs = args
			if err := checkOrphans(o, remove, yes, tokenFile); err != nil {
				return err
			}
			if !yes {
				o.Confirm = func(question string) (bool, error) { return confirm(command, question) }
			}
			return c.command(func(ctx context.Context, p *plugin.Plugin, _ []string) (err error) {
				if tokenFile != "" {
					if o.Token, err = readToken(tokenFile, command.InOrStdin()); err != nil {
						return err
					}
				}
				return p.Orphans(ctx, o)
			})(command, args)
		},
	}
	flags := command.Flags()
	flags.StringVar(&o.TokenServer, "token-server", "", "the TokenServer they are on (default \"default\")")
	flags.StringVar(&tokenFile, "token-file", "", "a file with an access token for its management API, or - for standard input")
	flags.BoolVar(&remove, "delete", false, "delete the clients that are named")
	flags.BoolVar(&o.All, "all", false, "with --delete: all that were left behind")
	flags.BoolVar(&yes, "yes", false, "delete without a question")
	return command
}

func checkOrphans(o plugin.OrphansOptions, remove, yes bool, tokenFile string) error {
	named := len(o.ClientIDs) > 0
	switch {
	case !remove && (named || o.All || yes):
		return errors.New("client ids, --all and --yes are for --delete")
	case remove && named == o.All:
		return errors.New("--delete needs the ids of clients, or --all")
	case remove && !yes && tokenFile == "-":
		return errors.New("--delete has no way to ask when the token comes from standard input: add --yes")
	}
	return nil
}

// readToken reads an access token, which goes into no argument.
func readToken(path string, stdin io.Reader) (string, error) {
	data, err := plugin.ReadInput(path, plugin.MaxValue, stdin)
	if err != nil {
		return "", fmt.Errorf("reading the token: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if token == "" {
		return "", errors.New("reading the token: there is none")
	}
	return token, nil
}

// confirm asks a person.
func confirm(command *cobra.Command, question string) (bool, error) {
	_, _ = fmt.Fprint(command.ErrOrStderr(), question+"Type yes to delete: ")
	answer, err := bufio.NewReader(command.InOrStdin()).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("reading the answer: %w", err)
	}
	return strings.TrimSpace(answer) == "yes", nil
}
