// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"connectedapps.dev/operator/internal/options/tokenserveroptions"
	"connectedapps.dev/operator/internal/tokenserver/keys"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

func keysCommand() *cobra.Command {
	return group("keys", "Rotate signing keys, change the encryption key", keysRotateCommand(), keysRewrapCommand())
}

func keysRotateCommand() *cobra.Command {
	var config string
	var now, revoke bool
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Make new signing keys before they are due",
		Long: `rotate makes new signing keys. A running server does so by itself every 30 days;
this is for when a key may have leaked. On SQLite the server must be
stopped first: its database has one process at a time.

The new keys are published for an hour before they sign, so that verifiers which
cache the JWK Set (15 minutes) know them. --now lets them sign at once. --revoke
does too, and takes the earlier keys out of the JWK Set: every token they signed
is refused.`,
		Example: `  tokenserver keys rotate --config=tokenserver.yaml
  tokenserver keys rotate --config=tokenserver.yaml --revoke   # a key has leaked`,
		Args: cobra.NoArgs,
		RunE: doing(func(cmd *cobra.Command, _ []string) error {
			return withKeyring(cmd.Context(), config, func(k *keys.Keyring) error {
				if err := k.Rotate(cmd.Context(), now, revoke); err != nil {
					return err
				}
				for _, key := range k.Published() {
					_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", key.Algorithm, key.KeyID)
				}
				return nil
			})
		}),
	}
	configFlag(cmd, &config)
	cmd.Flags().BoolVar(&now, "now", false, "the new keys sign at once (default false)")
	cmd.Flags().BoolVar(&revoke, "revoke", false, "the new keys sign at once and the earlier ones are withdrawn (default false)")
	return cmd
}

func keysRewrapCommand() *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use:   "rewrap",
		Short: "Encrypt the keys of the database with the first encryption key",
		Long: `rewrap encrypts every key of the database with the first of encryptionKeyFiles.
Tokens, secrets and sessions stay valid. On SQLite the server must be
stopped first: its database has one process at a time.

To change the encryption key: make a new file, put it first among
encryptionKeyFiles, run rewrap, take the old file out of the list, start.`,
		Example: `  openssl rand -base64 32 > encryption-key-2; chmod 600 encryption-key-2
  # encryptionKeyFiles: [encryption-key-2, encryption-key]
  tokenserver keys rewrap --config=tokenserver.yaml
  # encryptionKeyFiles: [encryption-key-2]`,
		Args: cobra.NoArgs,
		RunE: doing(func(cmd *cobra.Command, _ []string) error {
			return withKeyring(cmd.Context(), config, func(k *keys.Keyring) error {
				n, err := k.Rewrap(cmd.Context())
				if err == nil {
					_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%d keys are encrypted with the first encryption key\n", n)
				}
				return err
			})
		}),
	}
	configFlag(cmd, &config)
	return cmd
}

func configFlag(cmd *cobra.Command, config *string) {
	cmd.Flags().StringVar(config, "config", fileConfig, "configuration `file`")
}

// withKeyring opens the database of a server that is not running.
func withKeyring(ctx context.Context, path string, do func(*keys.Keyring) error) error {
	loaded, err := tokenserveroptions.Load(path, tokenserveroptions.Overrides{})
	if err != nil {
		return fmt.Errorf("loading %s: %w", path, err)
	}
	// Opening it would make a new one.
	if _, err := os.Stat(loaded.Config.Storage.SQLite.Path); err != nil && loaded.Config.Storage.PostgreSQL == nil {
		return &failure{
			err:  fmt.Errorf("opening the database: %w", err),
			hint: "tokenserver serve makes the database; correct storage.sqlite.path if it is elsewhere",
		}
	}
	store, keyring, err := openDatabase(ctx, loaded.Config, existingKeys)
	switch {
	case errors.Is(err, storage.ErrInUse):
		return &failure{err: err, hint: "stop the server first, then start it again: it reads the keys at start"}
	case errors.Is(err, keys.ErrNone):
		return &failure{err: err, hint: "tokenserver serve makes them at its first start; correct storage if the database is another one"}
	}
	if err != nil {
		return err
	}
	return errors.Join(do(keyring), store.Close())
}
