// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"connectedapps.dev/operator/internal/plugin"
	"connectedapps.dev/operator/internal/plugin/importer"
	"connectedapps.dev/operator/internal/registrar"
)

// importing is what the flags of import say.
type importing struct {
	*cluster
	read  importer.Options
	write plugin.ImportOptions
}

func (c *cluster) importCommand() *cobra.Command {
	i := &importing{cluster: c}
	command := &cobra.Command{
		Use:   "import SOURCE",
		Short: "Make ConnectedApps of clients that are registered elsewhere",
		Long: `Make ConnectedApps of clients that are registered elsewhere, under their client ids.

The manifests are the answer; nothing is applied. What they do not say of a client
is in a comment above it, and in a table beside the answer. Client secrets are never
in them: --secrets writes them into Secrets of the namespace, --secrets-file into a
file of manifests of Secrets that you alone can read.

An app may take a client over when an access rule of the TokenServer allows it:
--access prints one for the platform team. It allows what these apps have, to every
app of the namespace.

Only --secrets needs the cluster, and there the right to get, create and patch secrets.`,
		Example: `  # The apps of a token server that nobody manages yet
  kubectl connectedapp import tokenserver --url https://id.example.com --client-id connectedapps-manager --client-secret-file secret -n payments > apps.yaml

  # The access rule that they need
  kubectl connectedapp import keycloak realm-export.json -n payments --access

  # Other servers' clients with their secrets
  kubectl connectedapp import keycloak realm-export.json -n payments --secrets | kubectl apply -f -`,
		Args: cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			return fmt.Errorf("import %s: name a source, which is tokenserver, anypoint, keycloak, hydra or dex", strings.Join(args, " "))
		},
	}
	flags := command.PersistentFlags()
	flags.StringVar(&i.read.TokenServer, "token-server", "", "the TokenServer of the apps (default: the one called default)")
	flags.StringSliceVar(&i.read.Clients, "client", nil, "ids of the clients to import (default: all)")
	flags.BoolVar(&i.read.ExistingSecrets, "existing-secrets", false,
		"have apps read their client secrets from Secrets that you make, also where the source does not tell them")
	flags.BoolVar(&i.write.Access, "access", false, "print the access rule that the apps need instead of the apps")
	flags.BoolVar(&i.write.Secrets, "secrets", false, "write the client secrets into Secrets of the namespace")
	flags.StringVar(&i.write.SecretsFile, "secrets-file", "", "write the client secrets into this new file, as manifests of Secrets")
	command.MarkFlagsMutuallyExclusive("secrets", "secrets-file")
	command.AddCommand(
		i.serverCommand("tokenserver", "our token server", "https://id.example.com"),
		i.serverCommand("anypoint", "an Anypoint organization, or another server of that management API", "https://anypoint.example.com"),
		i.fileCommand("keycloak", "realm-export.json", "the OpenID Connect clients of a Keycloak realm export",
			"An export of kc.sh has the client secrets, one of the administration console has not;\n"+
				"of it only clients are read, so that --users skip keeps it small.\n"+
				"A list of clients as kcadm.sh get clients prints it will do as well.", importer.Keycloak),
		i.fileCommand("hydra", "clients.json", "the clients of Ory Hydra",
			"It is what hydra list oauth2-clients --format json prints, or the answer of\nGET /admin/clients. Hydra does not tell client secrets.", importer.Hydra),
		i.fileCommand("dex", "config.yaml", "the static clients of a dex configuration", "", importer.Dex),
	)
	return command
}

// fileCommand imports what a file says; - is standard input.
func (i *importing) fileCommand(
	source, example, what, more string, read func([]byte, importer.Options) (*importer.Result, error),
) *cobra.Command {
	long := "Make ConnectedApps of " + what + ".\n"
	if more != "" {
		long += "\n" + more + "\n"
	}
	return &cobra.Command{
		Use: source + " FILE", Short: "Make ConnectedApps of " + what, Long: long + "\nFILE is - for standard input.",
		Example: fmt.Sprintf("  kubectl connectedapp import %[1]s %[2]s -n payments > apps.yaml\n"+
			"  kubectl connectedapp import %[1]s %[2]s -n payments --access", source, example),
		Args: cobra.ExactArgs(1),
		RunE: i.command(func(_ context.Context, command *cobra.Command, args []string) (*importer.Result, error) {
			text, err := plugin.ReadInput(args[0], plugin.MaxInput, command.InOrStdin())
			if err != nil {
				return nil, fmt.Errorf("reading the clients: %w", err)
			}
			result, err := read(text, i.read)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", args[0], err)
			}
			return result, nil
		}),
	}
}

func (i *importing) serverCommand(source, what, url string) *cobra.Command {
	var config registrar.Config
	var secretFile, caFile string
	command := &cobra.Command{
		Use: source, Short: "Make ConnectedApps of the apps of " + what,
		Long: "Make ConnectedApps of the apps of " + what + `.

The client that it logs in with needs the grant type client_credentials and one of
the scopes manage:orgconnapps, read:orgconnapps, read:full and full. Nothing is
changed on the server.

The apps have driftPolicy Report and deletionPolicy Orphan: applied, they change
nothing of their clients either, and leave them when they are deleted. A client
whose secret the server does not tell gets another one beside it, unless
--existing-secrets is set.`,
		Example: fmt.Sprintf("  kubectl connectedapp import %s --url %s --client-id ID --client-secret-file secret -n payments > apps.yaml", source, url),
		Args:    cobra.NoArgs,
		RunE: i.command(func(ctx context.Context, command *cobra.Command, _ []string) (*importer.Result, error) {
			secret, err := plugin.ReadInput(secretFile, plugin.MaxValue, command.InOrStdin())
			if err != nil {
				return nil, fmt.Errorf("reading the client secret: %w", err)
			}
			if config.ClientSecret = string(bytes.TrimRight(secret, "\r\n")); config.ClientSecret == "" {
				return nil, errors.New("the file with the client secret is empty")
			}
			if caFile != "" {
				if config.CABundle, err = plugin.ReadInput(caFile, plugin.MaxValue, command.InOrStdin()); err != nil {
					return nil, fmt.Errorf("reading the certificates: %w", err)
				}
			}
			config.UserAgent = "kubectl-connectedapp"
			server, err := registrar.New(config)
			if err != nil {
				return nil, err
			}
			defer server.Close()
			return importer.TokenServer(ctx, server, i.read)
		}),
	}
	flags := command.Flags()
	flags.StringVar(&config.URL, "url", "", "the server's public URL")
	flags.StringVar(&config.ClientID, "client-id", "", "id of the client to log in with")
	flags.StringVar(&secretFile, "client-secret-file", "", "file with its secret, or - for standard input")
	flags.StringVar(&config.OrganizationID, "organization", "", "the organization whose apps are imported (default: the client's)")
	flags.StringVar(&caFile, "ca-file", "", "PEM certificates to trust instead of the system's")
	for _, name := range []string{"url", "client-id", "client-secret-file"} {
		_ = command.MarkFlagRequired(name) // it is there
	}
	return command
}

// command reads clients and writes them as ConnectedApps. It connects to the
// cluster when it has to write there.
func (i *importing) command(
	read func(context.Context, *cobra.Command, []string) (*importer.Result, error),
) func(*cobra.Command, []string) error {
	return func(command *cobra.Command, args []string) error {
		if err := i.checkOutput(); err != nil {
			return err
		}
		p, err := i.importPlugin(command)
		if err == nil {
			i.read.Namespace = p.Namespace
			var result *importer.Result
			if result, err = read(command.Context(), command, args); err == nil {
				err = p.Import(command.Context(), result, i.write)
			}
		}
		if err != nil {
			return &failure{err}
		}
		return nil
	}
}

func (i *importing) importPlugin(command *cobra.Command) (*plugin.Plugin, error) {
	if i.write.Secrets {
		return i.plugin(command)
	}
	namespace, _, err := i.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	return &plugin.Plugin{
		Namespace: namespace, Out: command.OutOrStdout(), Err: command.ErrOrStderr(), Output: plugin.Output(i.output),
	}, nil
}
