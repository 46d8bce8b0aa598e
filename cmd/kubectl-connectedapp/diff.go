// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/resource"

	"connectedapps.dev/operator/internal/plugin"
)

func (c *cluster) diffCommand() *cobra.Command {
	var files resource.FilenameOptions
	var o plugin.DiffOptions
	command := &cobra.Command{
		Use:   "diff (-f FILE | -k FOLDER)",
		Short: "Show what an apply of manifests would change on the token server",
		Long: `Show what an apply of manifests would change on the token server: which clients
are registered or changed, whether a client secret is made, and what the access
rules say. It is the plan that the manager would make. Nothing is changed.

The API server tries the apply first; without the right to it, that is worked out
here and said. What is on the token server is what the objects in the cluster say,
since an app team cannot log in there; --live asks the token server, with the
credentials of the manager, which takes the right to read them. Who may not read
the TokenServer gets no verdict on a changed spec.

The exit status is that of kubectl diff: 0 when nothing would change, 1 when
something would, 2 when that is not known; and 3 when access rules do not allow
all of an app.`,
		Example: `  kubectl connectedapp diff -f deploy/ -n payments
  kubectl connectedapp diff -k overlays/production --markdown > comment.md
  kustomize build overlays/production | kubectl connectedapp diff -f - --server-side
  kubectl connectedapp diff -f app.yaml --live`,
		Args: cobra.NoArgs,
	}
	do := c.command(func(ctx context.Context, p *plugin.Plugin, _ []string) error {
		manifests, err := plugin.Resources(files, command.InOrStdin())
		if err != nil {
			return err
		}
		return p.Diff(ctx, manifests, o)
	})
	command.RunE = func(command *cobra.Command, args []string) error {
		if len(files.Filenames) == 0 && files.Kustomize == "" {
			return errors.New("--filename or --kustomize is missing")
		}
		err := do(command, args)
		if failed, ok := errors.AsType[*failure](err); ok {
			if _, ended := errors.AsType[*plugin.Exit](err); !ended {
				return &plugin.Exit{Status: plugin.DiffFailed, Err: failed.error}
			}
		}
		return err
	}
	flags := command.Flags()
	flags.StringSliceVarP(&files.Filenames, "filename", "f", nil, "a file, folder or URL with manifests, or - for standard input")
	flags.StringVarP(&files.Kustomize, "kustomize", "k", "", "a folder with a kustomization")
	flags.BoolVarP(&files.Recursive, "recursive", "R", false, "look into folders of folders too")
	flags.BoolVar(&o.ServerSide, "server-side", false, "try a server-side apply, as kubectl apply --server-side and GitOps tools do")
	flags.StringVar(&o.FieldManager, "field-manager", "kubectl", "whose server-side apply it is")
	flags.BoolVar(&o.Live, "live", false, "ask the token server for its clients, with the credentials of the manager")
	flags.BoolVar(&o.Markdown, "markdown", false, "write Markdown, for a pull request")
	return command
}
