// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"connectedapps.dev/operator/internal/plugin"
)

func (c *cluster) statusCommand() *cobra.Command {
	var all bool
	command := &cobra.Command{
		Use:   "status [NAME | app/NAME | accesstoken/NAME | --all-namespaces]",
		Short: "Show what there is in the namespace, or why one object is not ready",
		Long: `Show the ConnectedApps and AccessTokens of the namespace: whether each is ready,
its client and Secret, when a client secret is replaced by schedule, when a token
expires and when it is refreshed. What is not ready is explained below.
--all-namespaces shows those of all, to who may list them.

With a name it is one screen about that object: what the access rules say of it,
its registration, its Secret, its tokens, rotations and workloads, the last
Events, and the next step, with who takes it. NAME is the ConnectedApp of the name
if there is one, or else the AccessToken. What you may not read is said where it
would have been.

No secret and no token is shown.`,
		Example: `  kubectl connectedapp status
  kubectl connectedapp status gitproxy
  kubectl connectedapp status -n payments --context production
  kubectl connectedapp status -A
  kubectl connectedapp status -o json | jq '.accessTokens[] | select(.ready != "True")'
  kubectl connectedapp status app/gitproxy -o json | jq -r '.nextSteps[].what'`,
		Args: func(command *cobra.Command, args []string) error {
			if all && len(args) > 0 {
				return fmt.Errorf("%s is of one namespace: name that with -n in place of --all-namespaces", args[0])
			}
			return cobra.MaximumNArgs(1)(command, args)
		},
		RunE: c.command(func(ctx context.Context, p *plugin.Plugin, args []string) error {
			if all {
				p.Namespace = metav1.NamespaceAll
			}
			if len(args) == 0 {
				return p.Status(ctx)
			}
			return p.StatusOf(ctx, args[0])
		}),
	}
	command.Flags().BoolVarP(&all, "all-namespaces", "A", false, "show all namespaces")
	return command
}
