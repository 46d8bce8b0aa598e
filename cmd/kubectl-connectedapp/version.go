// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/spf13/cobra"

	"connectedapps.dev/operator/internal/plugin"
)

func (c *cluster) versionCommand() *cobra.Command {
	var clientOnly bool
	command := &cobra.Command{
		Use:   "version",
		Short: "Show the versions of plugin, manager and token server",
		Long: `Show the versions of plugin, manager and token server, and which are further apart
than one minor version.

Those in the cluster are the tags of the images of their Deployments in the
namespace of the manager (--system-namespace), which takes the right to list them.
A token server elsewhere does not tell its version.`,
		Example: `  kubectl connectedapp version
  kubectl connectedapp version --client -o json`,
		Args: cobra.NoArgs,
	}
	show := func(ctx context.Context, p *plugin.Plugin) error { return p.Version(ctx, version, clientOnly) }
	online := c.command(func(ctx context.Context, p *plugin.Plugin, _ []string) error { return show(ctx, p) })
	offline := c.offline(func(ctx context.Context, p *plugin.Plugin, _ *cobra.Command) error { return show(ctx, p) })
	command.RunE = func(command *cobra.Command, args []string) error {
		if clientOnly {
			return offline(command, args)
		}
		return online(command, args)
	}
	command.Flags().BoolVar(&clientOnly, "client", false, "show that of the plugin alone, and ask no cluster")
	return command
}
