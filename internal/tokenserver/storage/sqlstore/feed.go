// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// recordChange adds an entry to the change feed and returns its id, which grows
// with every change of the database.
func (s *Store) recordChange(ctx context.Context, tx *sql.Tx, kind storage.ChangeKind, name string, at time.Time) (int64, error) {
	var id int64
	err := s.queryRow(ctx, tx, []any{&id}, `INSERT INTO changes (kind, name, at) VALUES (?, ?, ?) RETURNING id`, string(kind), name, micros(at))
	return id, err
}

// Changes implements storage.Feed.
func (s *Store) Changes(ctx context.Context, since time.Time) ([]storage.Change, error) {
	var changes []storage.Change
	err := s.queryRows(ctx, s.read, func(rows *sql.Rows) error {
		var change storage.Change
		var at int64
		err := rows.Scan(&change.ID, &change.Kind, &change.Key, &at)
		change.At = fromMicros(at)
		changes = append(changes, change)
		return err
	}, `SELECT id, kind, name, at FROM changes WHERE at >= ? ORDER BY id`, micros(since))
	return changes, err
}

// Revoke implements storage.Revocations.
func (s *Store) Revoke(ctx context.Context, r storage.Revocation, now time.Time) error {
	return s.inTx(ctx, func(tx *sql.Tx) error { return s.revoke(ctx, tx, r, now) })
}

func (s *Store) revoke(ctx context.Context, tx *sql.Tx, r storage.Revocation, now time.Time) error {
	_, err := s.exec(ctx, tx, `INSERT INTO revocations (kind, name, not_before, expires_at) VALUES (?, ?, ?, ?)
		ON CONFLICT (kind, name) DO UPDATE SET not_before = excluded.not_before, expires_at = excluded.expires_at`,
		string(r.Kind), r.Key, micros(r.NotBefore), micros(r.ExpiresAt))
	if err != nil {
		return err
	}
	_, err = s.recordChange(ctx, tx, storage.ChangeRevocation, string(r.Kind)+" "+r.Key, now)
	return err
}

// ActiveRevocations implements storage.Revocations.
func (s *Store) ActiveRevocations(ctx context.Context, now time.Time) ([]storage.Revocation, error) {
	var active []storage.Revocation
	err := s.queryRows(ctx, s.read, func(rows *sql.Rows) error {
		var r storage.Revocation
		var notBefore, expiresAt int64
		err := rows.Scan(&r.Kind, &r.Key, &notBefore, &expiresAt)
		r.NotBefore, r.ExpiresAt = fromMicros(notBefore), fromMicros(expiresAt)
		active = append(active, r)
		return err
	}, `SELECT kind, name, not_before, expires_at FROM revocations WHERE expires_at > ?`, micros(now))
	return active, err
}

const (
	// keepRetiredSecrets is how long a retired secret is recognised as one.
	keepRetiredSecrets = 90 * 24 * time.Hour
	// keepChanges is far longer than the overlap that replicas read again.
	keepChanges = time.Hour
	// keepCodes is how long a code that is presented again is known.
	keepCodes = time.Hour
)

// CollectGarbage implements storage.Collector.
func (s *Store) CollectGarbage(ctx context.Context, now time.Time) (int, error) {
	total := 0
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		for query, before := range map[string]time.Time{
			`DELETE FROM app_secrets WHERE expires_at > 0 AND expires_at < ?`:  now.Add(-keepRetiredSecrets),
			`DELETE FROM revocations WHERE expires_at < ?`:                     now,
			`DELETE FROM signing_keys WHERE expires_at > 0 AND expires_at < ?`: now,
			`DELETE FROM changes WHERE at < ?`:                                 now.Add(-keepChanges),
			`DELETE FROM authorization_codes WHERE expires_at < ?`:             now.Add(-keepCodes),
			`DELETE FROM refresh_families WHERE expires_at < ?`:                now,
			`DELETE FROM sessions WHERE expires_at < ?`:                        now,
			`DELETE FROM opaque_tokens WHERE expires_at < ?`:                   now,
			`DELETE FROM used_assertions WHERE expires_at < ?`:                 now,
			`DELETE FROM pending_authorizations WHERE expires_at < ?`:          now,
		} {
			n, err := s.exec(ctx, tx, query, micros(before))
			if err != nil {
				return err
			}
			total += int(n)
		}
		return nil
	})
	return total, err
}
