// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// CreateOpaqueToken implements storage.OpaqueTokens.
func (s *Store) CreateOpaqueToken(ctx context.Context, t storage.OpaqueToken) error {
	_, err := s.singleExec(ctx, `INSERT INTO opaque_tokens (hash, client_id, document, expires_at) VALUES (?, ?, ?, ?)`,
		t.Hash, t.ClientID, t.Document, micros(t.ExpiresAt))
	return err
}

// OpaqueToken implements storage.OpaqueTokens.
func (s *Store) OpaqueToken(ctx context.Context, hash []byte) (storage.OpaqueToken, error) {
	t := storage.OpaqueToken{Hash: hash}
	var expiresAt int64
	err := s.queryRow(ctx, s.read, []any{&t.ClientID, &t.Document, &expiresAt},
		`SELECT client_id, document, expires_at FROM opaque_tokens WHERE hash = ?`, hash)
	t.ExpiresAt = fromMicros(expiresAt)
	return t, err
}
