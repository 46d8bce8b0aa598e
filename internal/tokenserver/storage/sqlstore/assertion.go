// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// UseAssertion implements storage.Assertions.
func (s *Store) UseAssertion(ctx context.Context, clientID, jti string, expiresAt time.Time) error {
	if err := checkTexts([]string{clientID, jti}); err != nil {
		return err
	}
	n, err := s.exec(ctx, s.write, `INSERT INTO used_assertions (client_id, jti, expires_at) VALUES (?, ?, ?)
		ON CONFLICT (client_id, jti) DO UPDATE SET expires_at = excluded.expires_at WHERE used_assertions.expires_at = excluded.expires_at`,
		clientID, jti, micros(expiresAt))
	if err == nil && n == 0 {
		return storage.ErrAlreadyExists
	}
	return err
}

// AssertionUsed implements storage.Assertions.
func (s *Store) AssertionUsed(ctx context.Context, clientID, jti string) (bool, error) {
	if err := checkTexts([]string{clientID, jti}); err != nil {
		return false, err
	}
	var n int
	err := s.queryRow(ctx, s.read, []any{&n}, "SELECT count(*) FROM used_assertions WHERE client_id = ? AND jti = ?", clientID, jti)
	return n > 0, err
}
