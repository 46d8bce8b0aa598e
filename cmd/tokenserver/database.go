// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectedapps.dev/operator/internal/options/tokenserveroptions"
	"connectedapps.dev/operator/internal/tokenserver/keys"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
)

// keepFor is how long a signing key stays published after its last signature,
// beyond the life of what it signed: replicas' clocks differ, and so do
// verifiers'.
const keepFor = 5 * time.Minute

// openDatabase opens the database and its keys.
func openDatabase(ctx context.Context, config *tokenserveroptions.Config) (storage.Storage, *keys.Keyring, error) {
	encryption, err := keys.LoadEncryptionKeys(config.EncryptionKeyFiles)
	if err != nil {
		return nil, nil, err
	}
	store, err := sqlite.Open(ctx, config.Storage.SQLite.Path, time.Now())
	if err != nil {
		return nil, nil, err
	}
	// An id_token is valid for an hour, whatever the access token's life.
	options := keys.Options{KeepFor: max(config.AccessTokenLifetime, time.Hour) + keepFor}
	keyring, err := keys.Open(ctx, store, encryption, options)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("opening the keys of database %s: %w", config.Storage.SQLite.Path, err), store.Close())
	}
	return store, keyring, nil
}
