// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// CreateSession implements storage.Sessions.
func (s *Store) CreateSession(ctx context.Context, session storage.Session) error {
	_, err := s.exec(ctx, s.write, `INSERT INTO sessions (id, hash, user_id, auth_time, user_epoch, created_at, last_used_at, expires_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, session.ID, session.Hash, session.UserID, micros(session.AuthTime), session.UserEpoch, micros(session.CreatedAt),
		micros(session.LastUsedAt), micros(session.ExpiresAt))
	return err
}

// SessionByHash implements storage.Sessions.
func (s *Store) SessionByHash(ctx context.Context, hash []byte) (storage.Session, error) {
	var session storage.Session
	var authTime, createdAt, lastUsedAt, expiresAt int64
	err := s.queryRow(ctx, s.read, []any{&session.ID, &session.Hash, &session.UserID, &authTime, &session.UserEpoch, &createdAt, &lastUsedAt, &expiresAt},
		`SELECT id, hash, user_id, auth_time, user_epoch, created_at, last_used_at, expires_at FROM sessions WHERE hash = ?`, hash)
	if err != nil {
		return storage.Session{}, err
	}
	session.AuthTime, session.CreatedAt = fromMicros(authTime), fromMicros(createdAt)
	session.LastUsedAt, session.ExpiresAt = fromMicros(lastUsedAt), fromMicros(expiresAt)
	return session, nil
}

// TouchSession implements storage.Sessions.
func (s *Store) TouchSession(ctx context.Context, id string, usedAt time.Time) error {
	_, err := s.exec(ctx, s.write, `UPDATE sessions SET last_used_at = ? WHERE id = ? AND last_used_at < ?`, micros(usedAt), id, micros(usedAt))
	return err
}

// DeleteSession implements storage.Sessions.
func (s *Store) DeleteSession(ctx context.Context, id string) error {
	_, err := s.exec(ctx, s.write, `DELETE FROM sessions WHERE id = ?`, id)
	return err
}

// CreatePendingAuthorization implements storage.PendingAuthorizations.
func (s *Store) CreatePendingAuthorization(ctx context.Context, p storage.PendingAuthorization) error {
	if err := checkTexts([]string{p.Parameters}); err != nil {
		return err
	}
	_, err := s.exec(ctx, s.write, `INSERT INTO pending_authorizations (hash, client_id, parameters, created_at, expires_at) VALUES (?, ?, ?, ?, ?)`,
		p.Hash, p.ClientID, p.Parameters, micros(p.CreatedAt), micros(p.ExpiresAt))
	return err
}

// PendingAuthorization implements storage.PendingAuthorizations.
func (s *Store) PendingAuthorization(ctx context.Context, hash []byte) (storage.PendingAuthorization, error) {
	var p storage.PendingAuthorization
	var createdAt, expiresAt int64
	err := s.queryRow(ctx, s.read, []any{&p.Hash, &p.ClientID, &p.Parameters, &createdAt, &expiresAt},
		`SELECT hash, client_id, parameters, created_at, expires_at FROM pending_authorizations WHERE hash = ?`, hash)
	p.CreatedAt, p.ExpiresAt = fromMicros(createdAt), fromMicros(expiresAt)
	return p, err
}
