// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// UseAssertion implements storage.Assertions.
func (s *Store) UseAssertion(ctx context.Context, clientID, jti string, expiresAt time.Time) error {
	if err := checkTexts([]string{clientID, jti}); err != nil {
		return err
	}
	jti = indexed(jti)
	n, err := s.singleExec(ctx, `INSERT INTO used_assertions (client_id, jti, expires_at) VALUES (?, ?, ?)
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
	jti = indexed(jti)
	var n int
	err := s.queryRow(ctx, s.read, []any{&n}, "SELECT count(*) FROM used_assertions WHERE client_id = ? AND jti = ?", clientID, jti)
	return n > 0, err
}

// maxIndexed is how long a text may be that an index of every engine holds.
const maxIndexed = 512

// indexed stands for a text that somebody else chose, of any length.
func indexed(text string) string {
	if len(text) <= maxIndexed {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}
