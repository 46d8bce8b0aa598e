// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

const secretColumns = `client_id, id, hash, sealed, created_at, expires_at, last_used_at`

func (s *Store) readSecrets(ctx context.Context, q querier, clientID string) ([]storage.Secret, error) {
	var secrets []storage.Secret
	err := s.queryRows(ctx, q, func(rows *sql.Rows) error {
		_, secret, err := scanSecret(rows)
		secrets = append(secrets, secret)
		return err
	}, `SELECT `+secretColumns+` FROM app_secrets WHERE client_id = ? ORDER BY position`, clientID)
	return secrets, err
}

func (s *Store) allSecrets(ctx context.Context, q querier) (map[string][]storage.Secret, error) {
	secrets := map[string][]storage.Secret{}
	err := s.queryRows(ctx, q, func(rows *sql.Rows) error {
		clientID, secret, err := scanSecret(rows)
		secrets[clientID] = append(secrets[clientID], secret)
		return err
	}, `SELECT `+secretColumns+` FROM app_secrets ORDER BY client_id, position`)
	return secrets, err
}

func scanSecret(rows *sql.Rows) (clientID string, secret storage.Secret, err error) {
	var createdAt, expiresAt, lastUsedAt int64
	err = rows.Scan(&clientID, &secret.ID, &secret.Hash, &secret.Sealed, &createdAt, &expiresAt, &lastUsedAt)
	secret.CreatedAt, secret.ExpiresAt, secret.LastUsedAt = fromMicros(createdAt), fromMicros(expiresAt), fromMicros(lastUsedAt)
	return clientID, secret, err
}

// writeSecrets makes the stored secrets after what they were before. A kept
// secret's last_used_at is left to TouchSecrets.
func (s *Store) writeSecrets(ctx context.Context, tx *sql.Tx, clientID string, before, after []storage.Secret) error {
	for _, secret := range before {
		if !slices.ContainsFunc(after, sameSecret(secret)) {
			if _, err := s.exec(ctx, tx, `DELETE FROM app_secrets WHERE id = ?`, secret.ID); err != nil {
				return err
			}
		}
	}
	for position, secret := range after {
		_, err := s.exec(ctx, tx, `INSERT INTO app_secrets
			(id, client_id, position, hash, sealed, created_at, expires_at, last_used_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET position = excluded.position, hash = excluded.hash, sealed = excluded.sealed,
				created_at = excluded.created_at, expires_at = excluded.expires_at`,
			secret.ID, clientID, position, secret.Hash, secret.Sealed,
			micros(secret.CreatedAt), micros(secret.ExpiresAt), micros(secret.LastUsedAt))
		if err != nil {
			return err
		}
	}
	return nil
}

func sameSecret(a storage.Secret) func(storage.Secret) bool {
	return func(b storage.Secret) bool { return a.ID == b.ID }
}

// touched is how many secrets one statement touches, so that others may write in
// between.
const touched = 1000

// TouchSecrets implements storage.Apps. The arguments are one, an object of JSON: a
// statement for each number of secrets would be prepared for each.
func (s *Store) TouchSecrets(ctx context.Context, used map[string]time.Time) error {
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(used)), touched) {
		uses := make(map[string]int64, len(ids))
		for _, id := range ids {
			if checkText(id) == nil { // no secret has another
				uses[id] = micros(used[id])
			}
		}
		object, err := json.Marshal(uses)
		if err != nil {
			return fmt.Errorf("encoding the uses of secrets: %w", err)
		}
		err = s.inTx(ctx, func(tx *sql.Tx) error {
			_, err := s.exec(ctx, tx, `UPDATE app_secrets SET last_used_at = used.at FROM (`+s.dialect.Members+`) AS used
				WHERE app_secrets.id = used.id AND app_secrets.last_used_at < used.at`, string(object))
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
