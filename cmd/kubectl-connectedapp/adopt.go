// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"connectedapps.dev/operator/internal/plugin"
)

func (c *cluster) adoptCommand() *cobra.Command {
	var wait bool
	var o plugin.WaitOptions
	command := &cobra.Command{
		Use:   "adopt APP CLIENT_ID",
		Short: "Let a ConnectedApp take over a client that is there",
		Long: `Let a ConnectedApp that has no client take over one that is on its token server:
made by hand, by other means, or for an object that is gone. Apply the app with
spec.suspend true, so that none is registered for it meanwhile.

An access rule has to list the client in clientIDs, or the Secret of credentials
of type ExistingSecret has to hold its id and secret. What can be seen to be in
the way is said before anything is written.

It sets the annotation connectedapps.dev/adopt-client-id, which needs the right
to patch the ConnectedApp. A request that nobody waited for stands.`,
		Example: `  kubectl connectedapp adopt gitproxy 4f1c0e2ab7d94c6f8a35d2e19b604c7d -n payments
  kubectl connectedapp adopt gitproxy 4f1c0e2ab7d94c6f8a35d2e19b604c7d --wait=false`,
		Args: cobra.ExactArgs(2),
		RunE: c.command(func(ctx context.Context, p *plugin.Plugin, args []string) error {
			if !wait {
				o.Timeout = 0
			}
			return p.Adopt(ctx, args[0], args[1], o)
		}),
	}
	command.Flags().BoolVar(&wait, "wait", true, "wait until the client is the app's")
	command.Flags().DurationVar(&o.Timeout, "timeout", 2*time.Minute, "how long to wait")
	return command
}
