// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"connectedapps.dev/operator/internal/tokenserver/keys"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
)

func databaseRestoreCommand() *cobra.Command {
	var config string
	var replace bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a SQLite database of a backup while the server is stopped",
		Long: `restore makes the SQLite database that the configuration names of a file that
backup wrote. The server must be stopped. The database appears once the backup is
examined: its integrity, and that the encryption keys open its keys. A database that
is there is left as it is, unless --replace moves it away, to a folder beside it.
When restore is killed, run it again: it begins anew, and the server does not start
without a database meanwhile.

FILE - is standard input, as for a Pod.

docs/tokenserver-database.md says what an old backup means. PostgreSQL has tools of
its own: pg_dump and pg_restore.`,
		Example: `  tokenserver database restore tokenserver-2026-11-27.db
  tokenserver database restore --replace - < tokenserver-2026-11-27.db`,
		Args: cobra.ExactArgs(1),
		RunE: doing(func(cmd *cobra.Command, args []string) error {
			return restore(cmd, config, args[0], replace)
		}),
	}
	configFlag(cmd, &config)
	cmd.Flags().BoolVar(&replace, "replace", false, "move the database that is there away")
	return cmd
}

func restore(cmd *cobra.Command, path, source string, replace bool) error {
	config, err := loadConfig(path)
	if err != nil {
		return err
	}
	if config.Storage.PostgreSQL != nil {
		return &failure{
			err:  fmt.Errorf("restoring: %s keeps its data in PostgreSQL", path),
			hint: "pg_restore restores it; docs/tokenserver-database.md shows how",
		}
	}
	encryption, err := keys.LoadEncryptionKeys(config.EncryptionKeyFiles)
	if err != nil {
		return err
	}
	backup, err := opened(cmd, source)
	if err != nil {
		return fmt.Errorf("restoring: %w", err)
	}
	defer func() { _ = backup.Close() }()
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	count := 0
	former, err := sqlite.Restore(ctx, backup, config.Storage.SQLite.Path, replace, func(ctx context.Context, reader storage.KeyReader) (err error) {
		count, err = keys.Check(ctx, reader, encryption)
		return err
	})
	if errors.Is(err, fs.ErrExist) {
		return &failure{err: fmt.Errorf("restoring: %w", err), hint: "--replace moves the database that is there to a folder beside it"}
	}
	if err != nil {
		return fmt.Errorf("restoring: %w", err)
	}
	if former != "" {
		_, _ = fmt.Fprintf(cmd.OutOrStdout(), "the former database is in %s\n", former)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s holds the backup, examined; the encryption keys of %s open all %d keys in it\n",
		databaseOf(config.Storage), path, count)
	return err
}

// opened is the file of a backup, or what comes in.
func opened(cmd *cobra.Command, source string) (io.ReadCloser, error) {
	if source == standardStream {
		return io.NopCloser(cmd.InOrStdin()), nil
	}
	return os.Open(source)
}
