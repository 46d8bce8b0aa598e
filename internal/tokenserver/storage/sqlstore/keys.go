// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"slices"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// DataKeys implements storage.Keys.
func (s *Store) DataKeys(ctx context.Context) ([]storage.DataKey, error) {
	return s.dataKeys(ctx, s.read)
}

func (s *Store) dataKeys(ctx context.Context, q querier) ([]storage.DataKey, error) {
	var keys []storage.DataKey
	err := s.queryRows(ctx, q, func(rows *sql.Rows) error {
		var key storage.DataKey
		var createdAt int64
		err := rows.Scan(&key.Purpose, &key.Wrapped, &key.WrappedBy, &createdAt)
		key.CreatedAt = fromMicros(createdAt)
		keys = append(keys, key)
		return err
	}, `SELECT purpose, wrapped, wrapped_by, created_at FROM data_keys ORDER BY purpose`)
	return keys, err
}

// CreateDataKeys implements storage.Keys.
func (s *Store) CreateDataKeys(ctx context.Context, keys []storage.DataKey) error {
	return s.inTx(ctx, func(tx *sql.Tx) error {
		existing, err := s.dataKeys(ctx, tx)
		if err != nil {
			return err
		}
		if len(existing) > 0 {
			return storage.ErrAlreadyExists
		}
		for _, key := range keys {
			if _, err := s.exec(ctx, tx, `INSERT INTO data_keys (purpose, wrapped, wrapped_by, created_at) VALUES (?, ?, ?, ?)`,
				string(key.Purpose), key.Wrapped, key.WrappedBy, micros(key.CreatedAt)); err != nil {
				return err
			}
		}
		return nil
	})
}

// SigningKeys implements storage.Keys.
func (s *Store) SigningKeys(ctx context.Context) (storage.SigningKeySet, error) {
	var set storage.SigningKeySet
	err := s.inReadTx(ctx, func(tx *sql.Tx) (err error) {
		set, err = s.signingKeySet(ctx, tx)
		return err
	})
	return set, err
}

func (s *Store) signingKeySet(ctx context.Context, tx *sql.Tx) (set storage.SigningKeySet, err error) {
	if err := s.queryRow(ctx, tx, []any{&set.Version}, `SELECT keys_version FROM installation`); err != nil {
		return set, err
	}
	set.Keys, err = s.signingKeys(ctx, tx)
	return set, err
}

func (s *Store) signingKeys(ctx context.Context, q querier) ([]storage.SigningKey, error) {
	var keys []storage.SigningKey
	err := s.queryRows(ctx, q, func(rows *sql.Rows) error {
		var key storage.SigningKey
		var createdAt, activeAt, retiredAt, expiresAt int64
		err := rows.Scan(&key.ID, &key.Algorithm, &key.Public, &key.Wrapped, &key.WrappedBy, &createdAt, &activeAt, &retiredAt, &expiresAt)
		key.CreatedAt, key.ActiveAt = fromMicros(createdAt), fromMicros(activeAt)
		key.RetiredAt, key.ExpiresAt = fromMicros(retiredAt), fromMicros(expiresAt)
		keys = append(keys, key)
		return err
	}, `SELECT id, algorithm, public, wrapped, wrapped_by, created_at, active_at, retired_at, expires_at
		FROM signing_keys ORDER BY created_at, id`)
	return keys, err
}

// UpdateSigningKeys implements storage.Keys.
func (s *Store) UpdateSigningKeys(
	ctx context.Context, change func([]storage.SigningKey) ([]storage.SigningKey, error),
) (storage.SigningKeySet, error) {
	var after storage.SigningKeySet
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		// The row of the installation is the lock: signing_keys may be empty.
		if err := s.queryRow(ctx, tx, []any{&after.Version},
			`UPDATE installation SET keys_version = keys_version + 1 RETURNING keys_version`); err != nil {
			return err
		}
		before, err := s.signingKeys(ctx, tx)
		if err != nil {
			return err
		}
		if after.Keys, err = change(slices.Clone(before)); err != nil {
			return err
		}
		if _, err := s.exec(ctx, tx, `DELETE FROM signing_keys`); err != nil {
			return err
		}
		for _, key := range after.Keys {
			if err := s.insertSigningKey(ctx, tx, key); err != nil {
				return err
			}
		}
		_, err = s.recordChange(ctx, tx, storage.ChangeSigningKeys, "")
		return err
	})
	return after, err
}

func (s *Store) insertSigningKey(ctx context.Context, tx *sql.Tx, key storage.SigningKey) error {
	_, err := s.exec(ctx, tx, `INSERT INTO signing_keys
		(id, algorithm, public, wrapped, wrapped_by, created_at, active_at, retired_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		key.ID, key.Algorithm, key.Public, key.Wrapped, key.WrappedBy,
		micros(key.CreatedAt), micros(key.ActiveAt), micros(key.RetiredAt), micros(key.ExpiresAt))
	return err
}

// RewrapKeys implements storage.Keys.
func (s *Store) RewrapKeys(ctx context.Context, rewrap func(name string, wrapped []byte, wrappedBy string) ([]byte, string, error)) error {
	return s.inTx(ctx, func(tx *sql.Tx) error {
		// A rotation at the same time would write the keys back as it read them.
		if err := s.lockInstallation(ctx, tx); err != nil {
			return err
		}
		dataKeys, err := s.dataKeys(ctx, tx)
		if err != nil {
			return err
		}
		for _, key := range dataKeys {
			wrapped, by, err := rewrap(string(key.Purpose), key.Wrapped, key.WrappedBy)
			if err != nil {
				return err
			}
			if _, err := s.exec(ctx, tx, `UPDATE data_keys SET wrapped = ?, wrapped_by = ? WHERE purpose = ?`, wrapped, by, string(key.Purpose)); err != nil {
				return err
			}
		}
		signingKeys, err := s.signingKeys(ctx, tx)
		if err != nil {
			return err
		}
		for _, key := range signingKeys {
			wrapped, by, err := rewrap(key.ID, key.Wrapped, key.WrappedBy)
			if err != nil {
				return err
			}
			if _, err := s.exec(ctx, tx, `UPDATE signing_keys SET wrapped = ?, wrapped_by = ? WHERE id = ?`, wrapped, by, key.ID); err != nil {
				return err
			}
		}
		return nil
	})
}
