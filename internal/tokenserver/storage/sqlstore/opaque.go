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
	t, err := s.shared.opaque.ask(ctx, hash)
	t.Hash = hash
	return t, err
}

// scanOpaque reads the columns client_id, document and expires_at.
func scanOpaque(scan func(dest ...any) error) (t storage.OpaqueToken, err error) {
	var expiresAt int64
	err = scan(&t.ClientID, &t.Document, &expiresAt)
	t.ExpiresAt = fromMicros(expiresAt)
	return t, err
}
