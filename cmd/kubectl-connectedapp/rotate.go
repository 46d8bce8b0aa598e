// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"connectedapps.dev/operator/internal/plugin"
)

func (c *cluster) rotateCommand() *cobra.Command {
	var wait bool
	var o plugin.WaitOptions
	command := &cobra.Command{
		Use:   "rotate APP",
		Short: "Replace the client secret of a ConnectedApp",
		Long: `Ask the operator for another client secret of a ConnectedApp, and wait until its
Secret holds it. The one before is accepted for the overlap of
spec.credentials.rotation where the token server can do that, and until nobody
needs it any more; the last line says until when.

It sets the annotation connectedapps.dev/rotate-requested-at, which needs the
right to patch the ConnectedApp. A request that nobody waited for stands.`,
		Example: `  kubectl connectedapp rotate gitproxy -n payments
  kubectl connectedapp rotate gitproxy --wait=false`,
		Args: cobra.ExactArgs(1),
		RunE: c.command(func(ctx context.Context, p *plugin.Plugin, args []string) error {
			if !wait {
				o.Timeout = 0
			}
			return p.Rotate(ctx, args[0], o)
		}),
	}
	command.Flags().BoolVar(&wait, "wait", true, "wait until the Secret holds the new client secret")
	command.Flags().DurationVar(&o.Timeout, "timeout", 2*time.Minute, "how long to wait")
	return command
}
