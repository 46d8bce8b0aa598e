// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"connectedapps.dev/operator/internal/options/tokenserveroptions"
)

func configCommand() *cobra.Command {
	return group("config", "Make or check a configuration", configInitCommand(), configCheckCommand())
}

func configCheckCommand() *cobra.Command {
	var skipFiles bool
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Tell everything that is wrong with a configuration file",
		Long: `check reads a configuration file, tokenserver.yaml when none is named, and the
files it names, and tells everything that is wrong with them, each with its
line. The database is not opened. With --skip-files only the file itself is
read, for where the others are not, such as in a pipeline.`,
		Example: `  tokenserver config check
  tokenserver config check /etc/tokenserver/config/config.yaml
  tokenserver config check --skip-files config/tokenserver/config.yaml`,
		Args: cobra.MaximumNArgs(1),
		RunE: doing(func(cmd *cobra.Command, args []string) error {
			return checkConfig(cmd, append(args, fileConfig)[0], skipFiles)
		}),
	}
	cmd.Flags().BoolVar(&skipFiles, "skip-files", false, "do not read the files that the configuration names (default false)")
	return cmd
}

func checkConfig(cmd *cobra.Command, path string, skipFiles bool) error {
	load := func() (*tokenserveroptions.Loaded, error) {
		return tokenserveroptions.Load(path, tokenserveroptions.Overrides{})
	}
	if skipFiles {
		load = func() (*tokenserveroptions.Loaded, error) { return tokenserveroptions.LoadText(path) }
	}
	loaded, err := load()
	if err != nil {
		return &failure{err: fmt.Errorf("checking %s: %w", path, err), hint: "docs/tokenserver-configuration.md explains every field"}
	}
	for _, warning := range loaded.Warnings {
		_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%s: warning: %s\n", path, warning)
	}
	_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%s: ok: %d organizations, %d users, %d apps\n", path,
		len(loaded.Config.Organizations), len(loaded.Config.Users), len(loaded.Config.Apps))
	return nil
}
