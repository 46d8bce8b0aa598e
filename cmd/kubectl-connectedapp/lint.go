// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/spf13/cobra"

	"connectedapps.dev/operator/internal/plugin"
	"connectedapps.dev/operator/internal/plugin/lint"
)

func (c *cluster) lintCommand() *cobra.Command {
	var paths, policy []string
	var recursive bool
	var o lint.Options
	command := &cobra.Command{
		Use:   "lint",
		Short: "Judge manifests without a cluster",
		Long: `Judge manifests without a cluster: what the API server would refuse, by the same
schema and rules; what the access rules of a TokenServer do not allow; AccessTokens
whose app does not fit; and Pods that read a Secret of ours by environment or
subPath, which a rotated value never reaches.

Objects without a namespace are in that of --namespace, or default. Labels of
namespaces, by which access rules choose, come from manifests of Namespaces, or
from --namespace-labels.

It ends with exit status 1 when there are errors; warnings alone are no failure.`,
		Example: `  kubectl connectedapp lint -f deploy/
  kubectl connectedapp lint -f app.yaml --policy tokenserver.yaml --namespace-labels team=payments -n payments
  kustomize build overlays/prod | kubectl connectedapp lint -f - -o json`,
		Args: cobra.NoArgs,
		RunE: c.offline(func(ctx context.Context, p *plugin.Plugin, command *cobra.Command) error {
			files, err := plugin.Manifests(paths, recursive, command.InOrStdin())
			if err != nil {
				return err
			}
			if len(policy) > 0 {
				if o.Policy, err = plugin.Manifests(policy, recursive, command.InOrStdin()); err != nil {
					return err
				}
			}
			return p.Lint(ctx, files, o)
		}),
	}
	flags := command.Flags()
	flags.StringSliceVarP(&paths, "filename", "f", nil, "a file or folder with manifests, or - for standard input")
	flags.BoolVarP(&recursive, "recursive", "R", false, "look into folders of folders too")
	flags.StringSliceVar(&policy, "policy", nil, "a file or folder with TokenServers, by whose access rules apps are judged")
	flags.StringToStringVar(&o.NamespaceLabels, "namespace-labels", nil, "labels of namespaces that have no manifest, as key=value,...")
	_ = command.MarkFlagRequired("filename") // there is such a flag
	return command
}
