// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"connectedapps.dev/operator/internal/plugin"
)

// completionTimeout is how long somebody who pressed a key waits for names.
const completionTimeout = 3 * time.Second

// kubectlCompletion is the program by which kubectl completes a plugin
// (https://kubernetes.io/docs/reference/kubectl/kubectl/, kubectl_complete).
const kubectlCompletion = `#!/bin/sh
exec kubectl-connectedapp __complete "$@"
`

func completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion (bash | zsh | fish | powershell | kubectl)",
		Short: "Print a script that completes commands, flags and names",
		Long: `Print a script that completes commands, flags, and the names of ConnectedApps,
AccessTokens, namespaces and contexts.

  kubectl      the program kubectl_complete-connectedapp, by which kubectl itself
               completes "kubectl connectedapp": put it on the PATH, executable.
               Completion of kubectl has to be set up
  bash, zsh, fish, powershell
               a script for that shell, for those who call kubectl-connectedapp`,
		Example: `  kubectl connectedapp completion kubectl | sudo tee /usr/local/bin/kubectl_complete-connectedapp
  sudo chmod +x /usr/local/bin/kubectl_complete-connectedapp
  source <(kubectl connectedapp completion bash)`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"bash", "zsh", "fish", "powershell", "kubectl"},
		RunE: func(command *cobra.Command, args []string) error {
			root, out := command.Root(), command.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(out, true)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(out)
			}
			_, err := io.WriteString(out, kubectlCompletion)
			return err
		},
	}
}

// complete lets arguments and flags of all commands be completed.
func (c *cluster) complete(root *cobra.Command) error {
	for _, command := range root.Commands() {
		switch command.Name() {
		case "status", "token":
			command.ValidArgsFunction = c.first(func(ctx context.Context, p *plugin.Plugin) []string { return p.Names(ctx, true) })
		case "login", "rotate", "adopt":
			command.ValidArgsFunction = c.first(func(ctx context.Context, p *plugin.Plugin) []string { return p.Names(ctx, false) })
		}
	}
	for flag, complete := range map[string]cobra.CompletionFunc{
		"namespace":        c.names(func(ctx context.Context, p *plugin.Plugin) []string { return p.Namespaces(ctx) }),
		"system-namespace": c.names(func(ctx context.Context, p *plugin.Plugin) []string { return p.Namespaces(ctx) }),
		"context":          c.contexts,
		"output":           cobra.FixedCompletions([]string{"json", "yaml", "name"}, cobra.ShellCompDirectiveNoFileComp),
	} {
		if err := root.RegisterFlagCompletionFunc(flag, complete); err != nil {
			return err
		}
	}
	return nil
}

// names completes with what the cluster answers: nothing when it does not.
func (c *cluster) names(ask func(context.Context, *plugin.Plugin) []string) cobra.CompletionFunc {
	return func(command *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		p, err := c.plugin(command)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(command.Context(), completionTimeout)
		defer cancel()
		return ask(ctx, p), cobra.ShellCompDirectiveNoFileComp
	}
}

// first completes the first argument.
func (c *cluster) first(ask func(context.Context, *plugin.Plugin) []string) cobra.CompletionFunc {
	complete := c.names(ask)
	return func(command *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(command, args, begun)
	}
}

func (c *cluster) contexts(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	config, err := c.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return slices.Sorted(maps.Keys(config.Contexts)), cobra.ShellCompDirectiveNoFileComp
}
