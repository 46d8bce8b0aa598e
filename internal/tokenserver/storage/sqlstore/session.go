// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// CreateSession implements storage.Sessions.
func (s *Store) CreateSession(ctx context.Context, session storage.Session) error {
	_, err := s.singleExec(ctx, `INSERT INTO sessions (id, hash, user_id, auth_time, user_epoch, created_at, last_used_at, expires_at)
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
	_, err := s.singleExec(ctx, `UPDATE sessions SET last_used_at = ? WHERE id = ? AND last_used_at < ?`, micros(usedAt), id, micros(usedAt))
	return err
}

// DeleteSession implements storage.Sessions.
func (s *Store) DeleteSession(ctx context.Context, id string) error {
	_, err := s.singleExec(ctx, `DELETE FROM sessions WHERE id = ?`, id)
	return err
}
