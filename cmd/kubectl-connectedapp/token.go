// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/spf13/cobra"

	"connectedapps.dev/operator/internal/plugin"
)

func (c *cluster) tokenCommand() *cobra.Command {
	var o plugin.TokenOptions
	command := &cobra.Command{
		Use:   "token NAME | accesstoken/NAME | app/NAME",
		Short: "Print an access token",
		Long: `Print an access token to standard output: whoever has it can use it until it
expires.

  accesstoken/NAME   the token in the Secret of that AccessToken
  app/NAME           a new token of that ConnectedApp, by its credentials and the
                     client credentials grant, from its public token endpoint
  NAME               the AccessToken of the name if there is one, or else the
                     ConnectedApp

You need the right to read the Secret. With -o json it is token.json: the token
with its type, its expiry and its scope.`,
		Example: `  curl -H "Authorization: Bearer $(kubectl connectedapp token gitproxy)" https://id.example.com/accounts/api/profile
  kubectl connectedapp token app/gitproxy --scope profile -o json`,
		Args: cobra.ExactArgs(1),
		RunE: c.command(func(ctx context.Context, p *plugin.Plugin, args []string) error { return p.Token(ctx, args[0], o) }),
	}
	command.Flags().StringSliceVar(&o.Scopes, "scope", nil, "scopes of a new token of a ConnectedApp (default: all it has)")
	return command
}
