// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/spf13/cobra"

	"connectedapps.dev/operator/internal/plugin"
)

func (c *cluster) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the ConnectedApps and AccessTokens of the namespace",
		Long: `Show the ConnectedApps and AccessTokens of the namespace: whether each is ready,
its client and Secret, when a client secret is replaced by schedule, when a token
expires and when it is refreshed. What is not ready is explained below.

No secret and no token is shown.`,
		Example: `  kubectl connectedapp status
  kubectl connectedapp status -n payments --context production
  kubectl connectedapp status -o json | jq '.accessTokens[] | select(.ready != "True")'`,
		Args: cobra.NoArgs,
		RunE: c.command(func(ctx context.Context, p *plugin.Plugin, _ []string) error { return p.Status(ctx) }),
	}
}
