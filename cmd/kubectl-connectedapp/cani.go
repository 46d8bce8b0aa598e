// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"connectedapps.dev/operator/internal/plugin"
)

func (c *cluster) canICommand() *cobra.Command {
	var list bool
	var o plugin.CanIOptions
	command := &cobra.Command{
		Use:   "can-i",
		Short: "Tell whether an app of the namespace may have a scope, a grant, a redirect host",
		Long: `Tell whether an app of the namespace may have a scope, a grant type, a redirect
host, all at once, and by which access rule of its TokenServer; or what the
nearest rule lacks. What no app can have, such as a redirect host beside
client_credentials, is no whatever the rules say. --list shows all that is allowed.

Whoever may not read the TokenServer is answered by a dry run, which says yes or
no without the name of the rule that allows it; --list needs to read it.

The exit status is 0 for yes, 1 for no, and 3 when it cannot be told.`,
		Example: `  kubectl connectedapp can-i --scope view:environment --grant client_credentials -n payments
  kubectl connectedapp can-i --grant authorization_code --redirect-host shop.example.com --scope profile
  kubectl connectedapp can-i --list -n payments`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, args []string) error {
			if err := o.Check(); err != nil && !list {
				return err
			}
			err := c.command(func(ctx context.Context, p *plugin.Plugin, _ []string) error {
				if list {
					return p.CanIList(ctx, o.TokenServer)
				}
				return p.CanI(ctx, o)
			})(command, args)
			_, answered := errors.AsType[*plugin.Exit](err)
			if f, ok := errors.AsType[*failure](err); ok && !answered {
				return &failure{&plugin.Exit{Status: plugin.ExitNotKnown, Err: f.error}} // 1 would be no
			}
			return err
		},
	}
	flags := command.Flags()
	flags.StringSliceVar(&o.Scopes, "scope", nil, "a scope that the app would have")
	flags.StringVar(&o.OrganizationID, "organization", "", "the organization that the scopes would be assigned in")
	flags.StringVar(&o.EnvironmentID, "environment", "", "the environment that the scopes would be assigned in")
	flags.StringSliceVar(&o.GrantTypes, "grant", nil, "a grant type that the app would have; jwt-bearer is short for its URN")
	flags.StringSliceVar(&o.RedirectHosts, "redirect-host", nil, "a host that its redirect URIs would name")
	flags.StringVar(&o.Audience, "audience", "", "the audience it would have: internal or everyone")
	flags.StringVar(&o.TokenServer, "token-server", "", "the TokenServer it would be on (default \"default\")")
	flags.BoolVar(&list, "list", false, "show all that is allowed in the namespace")
	return command
}
