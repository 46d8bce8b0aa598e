// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

const consentColumns = `user_id, client_id, org_id, scopes, security_version, created_at, updated_at`

// Consent implements storage.Consents.
func (s *Store) Consent(ctx context.Context, userID, clientID, orgID string) (storage.Consent, error) {
	return s.consent(ctx, s.read, userID, clientID, orgID, "")
}

func (s *Store) consent(ctx context.Context, q querier, userID, clientID, orgID, lock string) (storage.Consent, error) {
	var row consentRow
	err := s.queryRow(ctx, q, row.dest(), `SELECT `+consentColumns+` FROM consents WHERE user_id = ? AND client_id = ? AND org_id = ?`+lock,
		userID, clientID, orgID)
	if err != nil {
		return storage.Consent{}, err
	}
	return row.consent()
}

// WidenConsent implements storage.Consents.
func (s *Store) WidenConsent(ctx context.Context, asked storage.Consent, now time.Time) (storage.Consent, error) {
	if err := checkTexts(asked.Scopes); err != nil {
		return storage.Consent{}, err
	}
	var consent storage.Consent
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		consent = asked
		// The row comes first: two transactions that both find none would each
		// write its own scopes alone.
		if _, err := s.exec(ctx, tx, `INSERT INTO consents (`+consentColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (user_id, client_id, org_id) DO NOTHING`,
			consent.UserID, consent.ClientID, consent.OrgID, "[]", consent.SecurityVersion, micros(now), micros(now)); err != nil {
			return err
		}
		before, err := s.consent(ctx, tx, consent.UserID, consent.ClientID, consent.OrgID, s.dialect.ForUpdate)
		if err != nil {
			return err
		}
		if before.SecurityVersion == consent.SecurityVersion {
			consent.Scopes = union(before.Scopes, consent.Scopes)
		}
		consent.CreatedAt, consent.UpdatedAt = before.CreatedAt, now
		_, err = s.exec(ctx, tx, `UPDATE consents SET scopes = ?, security_version = ?, updated_at = ?
			WHERE user_id = ? AND client_id = ? AND org_id = ?`,
			encodeList(consent.Scopes), consent.SecurityVersion, micros(now), consent.UserID, consent.ClientID, consent.OrgID)
		return err
	})
	return consent, err
}

func union(before, more []string) []string {
	all, seen := slices.Clone(before), make(map[string]bool, len(before)+len(more))
	for _, name := range before {
		seen[name] = true
	}
	for _, name := range more {
		if !seen[name] {
			seen[name] = true
			all = append(all, name)
		}
	}
	return all
}

// UserConsents implements storage.Consents.
func (s *Store) UserConsents(ctx context.Context, userID string) ([]storage.Consent, error) {
	var consents []storage.Consent
	err := s.queryRows(ctx, s.read, func(rows *sql.Rows) error {
		var row consentRow
		if err := rows.Scan(row.dest()...); err != nil {
			return err
		}
		consent, err := row.consent()
		consents = append(consents, consent)
		return err
	}, `SELECT `+consentColumns+` FROM consents WHERE user_id = ? ORDER BY created_at, client_id`, userID)
	return consents, err
}

// RevokeConsent implements storage.Consents. Codes and refresh families end with
// the epoch they were made at.
func (s *Store) RevokeConsent(ctx context.Context, userID, clientID string, now time.Time) (storage.Epoch, error) {
	var ended storage.Epoch
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		_, err := s.exec(ctx, tx, `DELETE FROM consents WHERE user_id = ? AND client_id = ?`, userID, clientID)
		if err != nil {
			return err
		}
		ended, err = s.raiseEpoch(ctx, tx, storage.EpochConsent, storage.ConsentKey(userID, clientID), now)
		return err
	})
	return ended, err
}

// consentRow is a consent as the table holds it.
type consentRow struct {
	record               storage.Consent
	scopes               string
	createdAt, updatedAt int64
}

func (r *consentRow) dest() []any {
	return []any{&r.record.UserID, &r.record.ClientID, &r.record.OrgID, &r.scopes, &r.record.SecurityVersion, &r.createdAt, &r.updatedAt}
}

func (r *consentRow) consent() (storage.Consent, error) {
	var err error
	r.record.CreatedAt, r.record.UpdatedAt = fromMicros(r.createdAt), fromMicros(r.updatedAt)
	r.record.Scopes, err = decodeList(r.scopes)
	return r.record, err
}
