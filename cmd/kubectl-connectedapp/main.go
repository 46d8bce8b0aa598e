// SPDX-License-Identifier: Apache-2.0

// Command kubectl-connectedapp is the kubectl plugin connectedapp: it shows what
// the Connected Apps of a namespace are up to, logs people in to them, hands out
// tokens and asks for rotations.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"golang.org/x/term"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
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
	context.AfterFunc(ctx, stop) // a second one ends what does not listen
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
	exit, ended := errors.AsType[*plugin.Exit](err)
	if !ended || exit.Err != nil {
		_, _ = fmt.Fprintf(stderr, "error: %s\n", plugin.Visible(err.Error()))
	}
	if ended {
		return exit.Status
	}
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
	*genericclioptions.ConfigFlags
	output, systemNamespace string
}

func rootCommand() *cobra.Command {
	c := &cluster{ConfigFlags: genericclioptions.NewConfigFlags(true)}
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
	c.AddFlags(flags)
	flags.StringVarP(&c.output, "output", "o", "", "json or yaml for a document instead of text, name for the names of what it is about")
	flags.StringVar(&c.systemNamespace, "system-namespace", plugin.DefaultSystemNamespace, "namespace of the manager")
	root.AddCommand(c.statusCommand(), c.loginCommand(), c.tokenCommand(), c.rotateCommand())
	root.AddCommand(c.diffCommand(), c.versionCommand(), completionCommand())
	root.AddCommand(c.lintCommand(), c.canICommand(), c.adoptCommand(), c.orphansCommand())
	root.AddCommand(c.importCommand())
	if err := c.complete(root); err != nil {
		panic(err) // a flag that is not there
	}
	return root
}

// command connects to the cluster before it does what it does.
func (c *cluster) command(do func(context.Context, *plugin.Plugin, []string) error) func(*cobra.Command, []string) error {
	return func(command *cobra.Command, args []string) error {
		if err := c.checkOutput(); err != nil {
			return err
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

// offline is a command that needs no cluster, and no kubeconfig.
func (c *cluster) offline(do func(context.Context, *plugin.Plugin, *cobra.Command) error) func(*cobra.Command, []string) error {
	return func(command *cobra.Command, _ []string) error {
		if err := c.checkOutput(); err != nil {
			return err
		}
		p := c.writer(command)
		p.Namespace = cmp.Or(*c.Namespace, corev1.NamespaceDefault)
		if err := do(command.Context(), p, command); err != nil {
			return &failure{err}
		}
		return nil
	}
}

func (c *cluster) checkOutput() error {
	if !slices.Contains(plugin.Outputs, plugin.Output(c.output)) {
		return fmt.Errorf("--output %s: it must be json, yaml or name, or left out for text", c.output)
	}
	return nil
}

// writer is a plugin that has no cluster.
func (c *cluster) writer(command *cobra.Command) *plugin.Plugin {
	return &plugin.Plugin{
		SystemNamespace: c.systemNamespace, Out: command.OutOrStdout(), Err: command.ErrOrStderr(),
		Output: plugin.Output(c.output), Color: colors(command.OutOrStdout()),
	}
}

func (c *cluster) plugin(command *cobra.Command) (*plugin.Plugin, error) {
	config := c.ToRawKubeConfigLoader()
	namespace, _, err := config.Namespace()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	connection, err := config.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	scheme := apiruntime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), appsv1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	api, err := client.New(connection, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	p := c.writer(command)
	p.Client, p.Namespace = api, namespace
	return p, nil
}

// colors reports whether w is a terminal of somebody who wants them
// (https://no-color.org).
func colors(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && term.IsTerminal(int(file.Fd()))
}
