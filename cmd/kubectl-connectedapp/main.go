// SPDX-License-Identifier: Apache-2.0

// Command kubectl-connectedapp is the kubectl plugin connectedapp: it shows what
// the Connected Apps of a namespace are up to, logs people in to them, hands out
// tokens and asks for rotations.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"golang.org/x/term"
	corev1 "k8s.io/api/core/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/plugin"
)

// version is set by the linker.
var version = "dev"

const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard()) // errors are told once, by us
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	_, _ = fmt.Fprintf(stderr, "error: %s\n", plugin.Visible(err.Error()))
	if _, failed := errors.AsType[*failure](err); failed {
		return exitFailed
	}
	_, _ = fmt.Fprintln(stderr, "hint: kubectl connectedapp --help shows the commands, kubectl connectedapp COMMAND --help the flags and examples")
	return exitUsage
}

// failure is an error of a command that was called rightly.
type failure struct{ error }

func (f *failure) Unwrap() error { return f.error }

// cluster is how the flags of kubectl lead to a cluster.
type cluster struct {
	rules     *clientcmd.ClientConfigLoadingRules
	overrides *clientcmd.ConfigOverrides
	output    string
}

func rootCommand() *cobra.Command {
	c := &cluster{rules: clientcmd.NewDefaultClientConfigLoadingRules(), overrides: &clientcmd.ConfigOverrides{}}
	root := &cobra.Command{
		Use:     "kubectl-connectedapp",
		Version: version,
		Short:   "See and use the Connected Apps of a namespace",
		Long: `See and use the Connected Apps of a namespace.

A ConnectedApp is an OAuth client that the operator registers on a token server;
its credentials are in a Secret. An AccessToken is a token of such an app that the
operator keeps fresh in another Secret. Both are read and written with your own
rights, by the kubeconfig and the flags that kubectl takes.`,
		Example: `  # What there is, whether it works, and why not
  kubectl connectedapp status -n payments

  # Call an API as the app does
  curl -H "Authorization: Bearer $(kubectl connectedapp token gitproxy -n payments)" https://id.example.com/accounts/api/profile

  # Let an app act for you
  kubectl connectedapp login gitproxy -n payments

  # Replace a client secret that may have leaked
  kubectl connectedapp rotate gitproxy -n payments`,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl connectedapp"},
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	flags := root.PersistentFlags()
	flags.StringVar(&c.rules.ExplicitPath, "kubeconfig", "", "path to the kubeconfig file")
	flags.StringVarP(&c.output, "output", "o", "", "json for a document instead of text")
	clientcmd.BindOverrideFlags(c.overrides, flags, clientcmd.RecommendedConfigOverrideFlags(""))
	root.AddCommand(c.statusCommand(), c.loginCommand(), c.tokenCommand(), c.rotateCommand())
	return root
}

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

func (c *cluster) tokenCommand() *cobra.Command {
	var o plugin.TokenOptions
	command := &cobra.Command{
		Use:   "token NAME | accesstoken/NAME | app/NAME",
		Short: "Print an access token",
		Long: `Print an access token to standard output: whoever has it can use it until it
expires.

  accesstoken/NAME   the token in the Secret of that AccessToken
  app/NAME           a new token of that ConnectedApp, by its credentials and the
                     client credentials grant, from its public token endpoint
  NAME               the AccessToken of the name if there is one, or else the
                     ConnectedApp

You need the right to read the Secret. With -o json it is token.json: the token
with its type, its expiry and its scope.`,
		Example: `  curl -H "Authorization: Bearer $(kubectl connectedapp token gitproxy)" https://id.example.com/accounts/api/profile
  kubectl connectedapp token app/gitproxy --scope profile -o json`,
		Args: cobra.ExactArgs(1),
		RunE: c.command(func(ctx context.Context, p *plugin.Plugin, args []string) error { return p.Token(ctx, args[0], o) }),
	}
	command.Flags().StringSliceVar(&o.Scopes, "scope", nil, "scopes of a new token of a ConnectedApp (default: all it has)")
	return command
}

func (c *cluster) rotateCommand() *cobra.Command {
	var wait bool
	var o plugin.RotateOptions
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

// command connects to the cluster before it does what it does.
func (c *cluster) command(do func(context.Context, *plugin.Plugin, []string) error) func(*cobra.Command, []string) error {
	return func(command *cobra.Command, args []string) error {
		if c.output != "" && c.output != "json" {
			return fmt.Errorf("--output %s: it must be json, or left out for text", c.output)
		}
		p, err := c.plugin(command)
		if err == nil {
			err = do(command.Context(), p, args)
		}
		if err != nil {
			return &failure{err}
		}
		return nil
	}
}

func (c *cluster) plugin(command *cobra.Command) (*plugin.Plugin, error) {
	config := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(c.rules, c.overrides)
	namespace, _, err := config.Namespace()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	connection, err := config.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	scheme := apiruntime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	api, err := client.New(connection, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	return &plugin.Plugin{
		Client: api, Namespace: namespace, Out: command.OutOrStdout(), Err: command.ErrOrStderr(),
		JSON: c.output == "json", Color: colors(command.OutOrStdout()),
	}, nil
}

// colors reports whether w is a terminal of somebody who wants them
// (https://no-color.org).
func colors(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && term.IsTerminal(int(file.Fd()))
}
