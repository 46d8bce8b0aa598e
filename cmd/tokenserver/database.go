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
	"connectedapps.dev/operator/internal/tokenserver/storage/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
)

// keepFor is how long a signing key stays published after its last signature.
// Not the present life of tokens counts but the longest possible one: what was
// signed before the configuration lowered it lives on. The minutes are for the
// clocks of replicas and verifiers, which differ.
const keepFor = tokenserveroptions.MaxAccessTokenLifetime + 5*time.Minute

// Whether a database without keys gets its first ones.
const (
	firstKeys    = false
	existingKeys = true
)

// openDatabase opens the database and its keys; those of a new one are made unless
// they are to exist.
func openDatabase(ctx context.Context, config *tokenserveroptions.Config, existing bool) (storage.Storage, *keys.Keyring, error) {
	store, keyring, err := openKeys(ctx, config, existing)
	return store, keyring, awaited(config.Storage, err)
}

func openKeys(ctx context.Context, config *tokenserveroptions.Config, existing bool) (storage.Storage, *keys.Keyring, error) {
	encryption, err := keys.LoadEncryptionKeys(config.EncryptionKeyFiles)
	if err != nil {
		return nil, nil, err
	}
	store, err := openStorage(ctx, config.Storage)
	if err != nil {
		return nil, nil, err
	}
	keyring, err := keys.Open(ctx, store, encryption, keys.Options{KeepFor: keepFor, Existing: existing})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("opening the keys of %s: %w", named(config.Storage.SQLite.Path), err), store.Close())
	}
	return store, keyring, nil
}

// noAnswerError is of a database server that may answer later, or let us in, while
// this process waits; a file that cannot be read does not become better.
type noAnswerError struct{ error }

func (e *noAnswerError) Unwrap() error { return e.error }

// awaited marks what a later try may not meet.
func awaited(config tokenserveroptions.Storage, err error) error {
	if err == nil || config.PostgreSQL == nil || !errors.Is(err, storage.ErrUnavailable) {
		return err
	}
	return &noAnswerError{err}
}

// unanswered tells that a database server may answer later.
func unanswered(err error) bool {
	var noAnswer *noAnswerError
	return errors.As(err, &noAnswer)
}

func openStorage(ctx context.Context, config tokenserveroptions.Storage) (storage.Storage, error) {
	if config.PostgreSQL != nil {
		return postgresql.Open(ctx, config.PostgreSQL.Options(), time.Now())
	}
	return sqlite.Open(ctx, config.SQLite.Path, time.Now())
}

// named is a database by the path of its file; of another kind there is one.
func named(path string) string {
	if path == "" {
		return "the database"
	}
	return "database " + path
}
