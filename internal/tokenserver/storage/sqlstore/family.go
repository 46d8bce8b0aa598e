// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// familyColumns are all but collect_at, which is the garbage collector's.
const familyColumns = `id, nonce, generation, client_id, user_id, org_id, scopes, auth_time, session_id, code_hash,
	epochs, created_at, rotated_at, expires_at, revoked_at`

func (s *Store) createFamily(ctx context.Context, tx *sql.Tx, f storage.RefreshFamily) error {
	_, err := s.exec(ctx, tx, `INSERT INTO refresh_families (`+familyColumns+`, collect_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		f.ID, f.Nonce, f.Generation, f.ClientID, f.UserID, f.OrgID, encodeList(f.Scopes), micros(f.AuthTime), f.SessionID, f.CodeHash,
		encodeEpochs(f.Epochs), micros(f.CreatedAt), micros(f.RotatedAt), micros(f.ExpiresAt), micros(f.RevokedAt), micros(f.ExpiresAt))
	return err
}

// Family implements storage.RefreshFamilies.
func (s *Store) Family(ctx context.Context, id string) (storage.RefreshFamily, error) {
	return s.family(ctx, s.read, `SELECT `+familyColumns+` FROM refresh_families WHERE id = ?`, id)
}

// RotateFamily implements storage.RefreshFamilies: one statement, so that it
// costs one commit and nothing can come between.
func (s *Store) RotateFamily(
	ctx context.Context, id, clientID string, generation, next int64, now, expiresAt time.Time,
) (family storage.RefreshFamily, err error) {
	err = s.single(ctx, func(q querier) (err error) {
		family, err = s.family(ctx, q, `UPDATE refresh_families SET generation = ?, rotated_at = ?, expires_at = ?
		WHERE id = ? AND client_id = ? AND generation = ? AND revoked_at = 0 AND expires_at > ? RETURNING `+familyColumns,
			next, micros(now), micros(expiresAt), id, clientID, generation, micros(now))
		return err
	})
	return family, err
}

// RevokeFamily implements storage.RefreshFamilies.
func (s *Store) RevokeFamily(ctx context.Context, id string, now, tokensEnd time.Time) error {
	return s.inTx(ctx, func(tx *sql.Tx) error {
		if _, err := s.exec(ctx, tx, `UPDATE refresh_families SET revoked_at = ? WHERE id = ? AND revoked_at = 0`, micros(now), id); err != nil {
			return err
		}
		return s.endToken(ctx, tx, storage.EndedToken{Kind: storage.EndedFamily, Key: id, ExpiresAt: tokensEnd})
	})
}

func (s *Store) family(ctx context.Context, q querier, query string, args ...any) (storage.RefreshFamily, error) {
	var f storage.RefreshFamily
	var scopes, epochs string
	var authTime, createdAt, rotatedAt, expiresAt, revokedAt int64
	err := s.queryRow(ctx, q, []any{&f.ID, &f.Nonce, &f.Generation, &f.ClientID, &f.UserID, &f.OrgID, &scopes, &authTime, &f.SessionID,
		&f.CodeHash, &epochs, &createdAt, &rotatedAt, &expiresAt, &revokedAt}, query, args...)
	if err != nil {
		return storage.RefreshFamily{}, err
	}
	f.AuthTime, f.CreatedAt, f.RotatedAt = fromMicros(authTime), fromMicros(createdAt), fromMicros(rotatedAt)
	f.ExpiresAt, f.RevokedAt = fromMicros(expiresAt), fromMicros(revokedAt)
	if f.Epochs, err = decodeEpochs(epochs); err != nil {
		return storage.RefreshFamily{}, err
	}
	f.Scopes, err = decodeList(scopes)
	return f, err
}
