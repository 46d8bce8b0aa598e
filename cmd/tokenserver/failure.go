// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"connectedapps.dev/operator/internal/options/tokenserveroptions"
	"connectedapps.dev/operator/internal/tokenserver/configapps"
	"connectedapps.dev/operator/internal/tokenserver/keys"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
)

// failure tells what went wrong while doing from wrong usage.
type failure struct {
	err error
	// hint says what to do about it; empty: hintFor finds one.
	hint string
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// doing marks what do returns as a failure.
func doing(do func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := do(cmd, args)
		var failed *failure
		if err == nil || errors.As(err, &failed) {
			return err
		}
		return &failure{err: err}
	}
}

// hintFor says what to do about err; empty when the error says it all.
func hintFor(err error) string {
	var failed *failure
	if errors.As(err, &failed) && failed.hint != "" {
		return failed.hint
	}
	var problems tokenserveroptions.Problems
	var refused *postgresql.RefusedError
	for _, known := range []struct {
		matches bool
		hint    string
	}{
		{errors.As(err, &problems), "correct the file; `tokenserver config check FILE` tells whether it is right"},
		{errors.Is(err, storage.ErrInUse), "stop the other tokenserver first: a SQLite database has one server at a time"},
		{errors.Is(err, sqlite.ErrInterrupted),
			"run `tokenserver database restore` again with the backup; or move the files of that folder back, to have the former database"},
		{errors.Is(err, storage.ErrNewerSchema), "start the release that wrote it, or a later one"},
		{errors.As(err, &refused) && refused.NoTLS,
			"let the database speak TLS; sslmode=disable in storage.postgresql.url does without, where nobody can be in between"},
		{refused != nil, "correct storage.postgresql, or let the user into the database; docs/tokenserver-postgresql.md says what to create"},
		{errors.Is(err, keys.ErrWrongKey), "put the key that this database was made with back among encryptionKeyFiles; without it the database cannot be read"},
		{errors.Is(err, configapps.ErrTaken), "choose another clientID in the configuration, or put its organization back"},
		{diskFull(err), "free space on the file system of the database, and look for a limit on the size of files (ulimit -f)"},
		{unanswered(err), "start the database, or correct storage.postgresql.url"},
		{errors.Is(err, syscall.EADDRINUSE), "another process listens there; choose other addresses with --listen and --operations-listen"},
		{errors.Is(err, fs.ErrPermission), "let the user that runs tokenserver read its files and write the folder of the database"},
		{strings.Contains(err.Error(), "its folder"), "make the folder, or correct storage.sqlite.path"},
		{errors.Is(err, fs.ErrNotExist), "--config names the file; `tokenserver config init` writes one"},
	} {
		if known.matches {
			return known.hint
		}
	}
	return ""
}

// diskFull recognises what the database says of a write that found no room.
func diskFull(err error) bool {
	return errors.Is(err, storage.ErrFull) || strings.Contains(err.Error(), "disk I/O error")
}
