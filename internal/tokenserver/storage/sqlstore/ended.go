// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// raise gives an epoch that exists a value that it never had.
const raise = `ON CONFLICT (kind, name) DO UPDATE
	SET epoch = CASE WHEN epochs.epoch >= excluded.epoch THEN epochs.epoch + 1 ELSE excluded.epoch END`

// RaiseEpoch implements storage.Ended.
func (s *Store) RaiseEpoch(ctx context.Context, kind storage.EpochKind, key string, now time.Time) (storage.Epoch, error) {
	var raised storage.Epoch
	err := s.inTx(ctx, func(tx *sql.Tx) (err error) {
		raised, err = s.raiseEpoch(ctx, tx, kind, key, now)
		return err
	})
	return raised, err
}

// raiseEpoch costs one statement and one entry of the feed, whatever is alive.
func (s *Store) raiseEpoch(ctx context.Context, tx *sql.Tx, kind storage.EpochKind, key string, now time.Time) (storage.Epoch, error) {
	raised := storage.Epoch{Kind: kind, Key: key}
	err := s.queryRow(ctx, tx, []any{&raised.Value},
		`INSERT INTO epochs (kind, name, epoch) VALUES (?, ?, ?) `+raise+` RETURNING epoch`, string(kind), key, micros(now))
	if err != nil {
		return storage.Epoch{}, err
	}
	_, err = s.recordChange(ctx, tx, storage.ChangeEpoch, string(kind)+" "+key)
	return raised, err
}

// RestoreEpoch implements storage.Ended.
func (s *Store) RestoreEpoch(ctx context.Context, lost storage.Epoch, now time.Time) (raised bool, err error) {
	err = s.inTx(ctx, func(tx *sql.Tx) error {
		raised = false
		// Above the lost one also where the clock of whoever raised that was ahead.
		n, err := s.exec(ctx, tx, `INSERT INTO epochs (kind, name, epoch) VALUES (?, ?, ?)
			ON CONFLICT (kind, name) DO UPDATE SET epoch = excluded.epoch WHERE epochs.epoch < ?`,
			string(lost.Kind), lost.Key, max(micros(now), lost.Value+1), lost.Value)
		if err != nil || n == 0 {
			return err
		}
		raised = true
		_, err = s.recordChange(ctx, tx, storage.ChangeEpoch, string(lost.Kind)+" "+lost.Key)
		return err
	})
	return raised, err
}

// Epoch implements storage.Ended.
func (s *Store) Epoch(ctx context.Context, kind storage.EpochKind, key string) (storage.Epoch, error) {
	epoch := storage.Epoch{Kind: kind, Key: key}
	err := s.queryRow(ctx, s.read, []any{&epoch.Value}, `SELECT epoch FROM epochs WHERE kind = ? AND name = ?`, string(kind), key)
	if errors.Is(err, storage.ErrNotFound) {
		err = nil
	}
	return epoch, err
}

// Epochs implements storage.Ended.
func (s *Store) Epochs(ctx context.Context) ([]storage.Epoch, error) {
	var epochs []storage.Epoch
	err := s.queryRows(ctx, s.read, func(rows *sql.Rows) error {
		var e storage.Epoch
		err := rows.Scan(&e.Kind, &e.Key, &e.Value)
		epochs = append(epochs, e)
		return err
	}, `SELECT kind, name, epoch FROM epochs`)
	return epochs, err
}

// Observe implements storage.Ended.
func (s *Store) Observe(ctx context.Context, present []storage.Configured, now time.Time) ([]storage.Epoch, error) {
	var raised []storage.Epoch
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		raised = nil
		before, err := s.configured(ctx, tx)
		if err != nil {
			return err
		}
		for _, change := range changed(before, present) {
			if change.ends {
				epochs, err := s.raiseConfigured(ctx, tx, change.now, now)
				if err != nil {
					return err
				}
				raised = append(raised, epochs...)
			}
			if err := s.configure(ctx, tx, change.now); err != nil {
				return err
			}
		}
		return nil
	})
	return raised, err
}

type configuredKey struct {
	kind storage.EpochKind
	key  string
}

// configuredChange is a state that is not what it was; ends tells that something
// may be alive from before.
type configuredChange struct {
	now  storage.Configured
	ends bool
}

// changed returns what differs, first what is there, then what is gone.
func changed(before map[configuredKey]string, present []storage.Configured) []configuredChange {
	var changes []configuredChange
	seen := map[configuredKey]bool{}
	for _, c := range present {
		key := configuredKey{c.Kind, c.Key}
		seen[key] = true
		// What comes back is raised as well: a replica with the former configuration
		// may have issued something since it went.
		if was, known := before[key]; was != c.State || !known || c.Changed {
			changes = append(changes, configuredChange{c, known || c.Changed})
		}
	}
	for key, was := range before {
		if !seen[key] && was != "" {
			changes = append(changes, configuredChange{storage.Configured{Kind: key.kind, Key: key.key}, true})
		}
	}
	return changes
}

func (s *Store) raiseConfigured(ctx context.Context, tx *sql.Tx, c storage.Configured, now time.Time) ([]storage.Epoch, error) {
	if c.Kind == storage.EpochProvider {
		return s.raiseAsserted(ctx, tx, c.Key, now)
	}
	epoch, err := s.raiseEpoch(ctx, tx, c.Kind, c.Key, now)
	return []storage.Epoch{epoch}, err
}

// raiseAsserted raises the epochs of all users of an identity provider: one
// statement and one entry of the feed, however many they are.
func (s *Store) raiseAsserted(ctx context.Context, tx *sql.Tx, provider string, now time.Time) ([]storage.Epoch, error) {
	orgID, providerID, _ := strings.Cut(provider, " ")
	var raised []storage.Epoch
	err := s.queryRows(ctx, tx, func(rows *sql.Rows) error {
		e := storage.Epoch{Kind: storage.EpochUser}
		err := rows.Scan(&e.Key, &e.Value)
		raised = append(raised, e)
		return err
	}, `INSERT INTO epochs (kind, name, epoch) SELECT ?, id, CAST(? AS `+s.dialect.BigInt+`) FROM users WHERE org_id = ? AND id_provider_id = ?
		`+raise+` RETURNING name, epoch`, string(storage.EpochUser), micros(now), orgID, providerID)
	if err != nil {
		return nil, err
	}
	_, err = s.recordChange(ctx, tx, storage.ChangeEpoch, string(storage.EpochProvider)+" "+provider)
	return raised, err
}

func (s *Store) configured(ctx context.Context, tx *sql.Tx) (map[configuredKey]string, error) {
	// Two replicas that read the same configuration at once raise an epoch once.
	if err := s.lockInstallation(ctx, tx); err != nil {
		return nil, err
	}
	before := map[configuredKey]string{}
	err := s.queryRows(ctx, tx, func(rows *sql.Rows) error {
		var key configuredKey
		var state string
		err := rows.Scan(&key.kind, &key.key, &state)
		before[key] = state
		return err
	}, `SELECT kind, name, state FROM configured`)
	return before, err
}

func (s *Store) configure(ctx context.Context, tx *sql.Tx, c storage.Configured) error {
	_, err := s.exec(ctx, tx, `INSERT INTO configured (kind, name, state) VALUES (?, ?, ?)
		ON CONFLICT (kind, name) DO UPDATE SET state = excluded.state`, string(c.Kind), c.Key, c.State)
	return err
}

// EndToken implements storage.Ended.
func (s *Store) EndToken(ctx context.Context, t storage.EndedToken) error {
	return s.inTx(ctx, func(tx *sql.Tx) error { return s.endToken(ctx, tx, t) })
}

func (s *Store) endToken(ctx context.Context, tx *sql.Tx, t storage.EndedToken) error {
	_, err := s.exec(ctx, tx, `INSERT INTO revocations (kind, name, not_before, expires_at) VALUES (?, ?, 0, ?)
		ON CONFLICT (kind, name) DO UPDATE
			SET expires_at = CASE WHEN revocations.expires_at > excluded.expires_at THEN revocations.expires_at ELSE excluded.expires_at END`,
		string(t.Kind), t.Key, micros(t.ExpiresAt))
	if err != nil {
		return err
	}
	_, err = s.recordChange(ctx, tx, storage.ChangeEnded, string(t.Kind)+" "+t.Key)
	return err
}

// EndedToken implements storage.Ended.
func (s *Store) EndedToken(ctx context.Context, kind storage.EndedKind, key string) (storage.EndedToken, error) {
	var expiresAt int64
	err := s.queryRow(ctx, s.read, []any{&expiresAt}, `SELECT expires_at FROM revocations WHERE kind = ? AND name = ?`, string(kind), key)
	return storage.EndedToken{Kind: kind, Key: key, ExpiresAt: fromMicros(expiresAt)}, err
}

// EndedTokens implements storage.Ended.
func (s *Store) EndedTokens(ctx context.Context, now time.Time) ([]storage.EndedToken, error) {
	var ended []storage.EndedToken
	err := s.queryRows(ctx, s.read, func(rows *sql.Rows) error {
		var t storage.EndedToken
		var expiresAt int64
		err := rows.Scan(&t.Kind, &t.Key, &expiresAt)
		t.ExpiresAt = fromMicros(expiresAt)
		ended = append(ended, t)
		return err
	}, `SELECT kind, name, expires_at FROM revocations WHERE expires_at > ?`, micros(now))
	return ended, err
}
