// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os/exec"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"connectedapps.dev/operator/internal/plugin"
)

func (c *cluster) loginCommand() *cobra.Command {
	var noBrowser bool
	var o plugin.LoginOptions
	command := &cobra.Command{
		Use:   "login APP",
		Short: "Allow a ConnectedApp to act for you",
		Long: `Log in to the token server in a browser, allow a ConnectedApp to act for you, and
store the refresh token in a Secret, from which an AccessToken of grant type
RefreshToken goes on. When none does yet, one is printed.

The app needs the grant types authorization_code and refresh_token, the scope
offline_access and the redirect URI http://127.0.0.1/callback. The browser has to
run on this machine: it comes back to a port of its own.

It reads the Secret of the app and writes the one of the login, which needs the
rights to do so.`,
		Example: `  kubectl connectedapp login gitproxy -n payments | kubectl apply -f -
  kubectl connectedapp login gitproxy --no-browser --secret gitproxy-login`,
		Args: cobra.ExactArgs(1),
		RunE: c.command(func(ctx context.Context, p *plugin.Plugin, args []string) error {
			if !noBrowser {
				// It outlives the command.
				o.Open = func(address string) error { return openBrowser(context.WithoutCancel(ctx), address) }
			}
			return p.Login(ctx, args[0], o)
		}),
	}
	command.Flags().BoolVar(&noBrowser, "no-browser", false, "show the address instead of opening it")
	command.Flags().StringVar(&o.Secret, "secret", "", "name of the Secret for the refresh token (default APP-login)")
	command.Flags().StringSliceVar(&o.Scopes, "scope", nil, "scopes to ask for beside offline_access (default: all the app has)")
	command.Flags().DurationVar(&o.Timeout, "timeout", 5*time.Minute, "how long to wait for the login")
	return command
}

// openBrowser opens an address as the system does.
func openBrowser(ctx context.Context, address string) error {
	switch runtime.GOOS {
	case "darwin":
		return exec.CommandContext(ctx, "open", address).Start()
	case "windows":
		return exec.CommandContext(ctx, "rundll32", "url.dll,FileProtocolHandler", address).Start()
	}
	return exec.CommandContext(ctx, "xdg-open", address).Start()
}
