// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"connectedapps.dev/operator/internal/tokenserver/keys"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
)

// standardStream stands for standard output or input in place of a file's name.
const standardStream = "-"

func databaseBackupCommand() *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a SQLite database to a file while the server runs",
		Long: `backup writes a SQLite database, as it is at one moment, to a new file that you
alone may read. The server may run and write meanwhile. The file appears once it
is complete and examined: its integrity, and that the encryption keys open its
keys. It does not hold the encryption keys: keep a copy of these apart from it.

FILE - is standard output, as for a Pod; the examined file is beside the database
for that long.

tokenserver database restore puts it back. PostgreSQL has tools of its own: pg_dump
and pg_restore.`,
		Example: `  tokenserver database backup "tokenserver-$(date +%F).db"
  kubectl exec -n connectedapps-system deploy/tokenserver -- /tokenserver database backup \
    --config=/etc/tokenserver/config/config.yaml - > tokenserver.db`,
		Args: cobra.ExactArgs(1),
		RunE: doing(func(cmd *cobra.Command, args []string) error {
			return backUp(cmd, config, args[0])
		}),
	}
	configFlag(cmd, &config)
	return cmd
}

func backUp(cmd *cobra.Command, path, target string) error {
	config, err := loadConfig(path)
	if err != nil {
		return err
	}
	if config.Storage.PostgreSQL != nil {
		return &failure{
			err:  fmt.Errorf("backing up: %s keeps its data in PostgreSQL", path),
			hint: "pg_dump backs it up; docs/tokenserver-database.md shows how",
		}
	}
	if err := exists(config.Storage); err != nil {
		return &failure{err: err, hint: "correct storage.sqlite.path in " + path}
	}
	encryption, err := keys.LoadEncryptionKeys(config.EncryptionKeyFiles)
	if err != nil {
		return err
	}
	opened := 0
	backup := func(to string) error {
		return sqlite.Backup(cmd.Context(), config.Storage.SQLite.Path, to, func(ctx context.Context, reader storage.KeyReader) (err error) {
			opened, err = keys.Check(ctx, reader, encryption)
			return err
		})
	}
	report := cmd.OutOrStdout()
	if target == standardStream {
		report = cmd.ErrOrStderr()
		err = throughFile(filepath.Dir(config.Storage.SQLite.Path), backup, cmd.OutOrStdout())
	} else {
		err = backup(target)
	}
	if errors.Is(err, fs.ErrExist) {
		return &failure{err: fmt.Errorf("backing up: %w", err), hint: "name another file: nothing is overwritten"}
	}
	if err != nil {
		return fmt.Errorf("backing up: %w", err)
	}
	_, err = fmt.Fprintf(report, "%s holds %s, examined; the encryption keys of %s open all %d keys in it\n",
		target, databaseOf(config.Storage), path, opened)
	return err
}

// throughFile makes a backup in a folder of its own below folder, where there is
// room for it, and writes it to w once it is whole.
func throughFile(folder string, backup func(to string) error, w io.Writer) (err error) {
	temporary, err := os.MkdirTemp(folder, ".backup-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temporary)) }()
	path := filepath.Join(temporary, "backup.db")
	if err := backup(path); err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, file)
	return errors.Join(err, file.Close())
}
