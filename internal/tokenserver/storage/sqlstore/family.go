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
	return s.shared.family.ask(ctx, id)
}

// rotation is one of a family, of one generation to the next.
type rotation struct {
	id, clientID     string
	generation, next int64
	now, expiresAt   time.Time
}

// RotateFamily implements storage.RefreshFamilies: one statement, so that it
// costs one commit and nothing can come between.
func (s *Store) RotateFamily(
	ctx context.Context, id, clientID string, generation, next int64, now, expiresAt time.Time,
) (storage.RefreshFamily, error) {
	return s.shared.rotation.ask(ctx, rotation{id, clientID, generation, next, now, expiresAt})
}

func (s *Store) rotate(ctx context.Context, r rotation) (family storage.RefreshFamily, err error) {
	err = s.single(ctx, func(q querier) (err error) {
		family, err = s.family(ctx, q, `UPDATE refresh_families SET generation = ?, rotated_at = ?, expires_at = ?
		WHERE id = ? AND client_id = ? AND generation = ? AND revoked_at = 0 AND expires_at > ? RETURNING `+familyColumns,
			r.next, micros(r.now), micros(r.expiresAt), r.id, r.clientID, r.generation, micros(r.now))
		return err
	})
	return family, err
}

// rotateAll rotates what it can of several. It waits for nobody: a family that another
// transaction has locked is left to be rotated alone, like one that is asked for twice.
// What the arrays hold is kept from the planner, which would make a plan for each.
func (s *Store) rotateAll(ctx context.Context, asked []rotation) ([]*storage.RefreshFamily, error) {
	var ids, clients []string
	var generations, nexts, nows, ends []int64
	at := map[string]int{}
	for i, r := range asked {
		if _, twice := at[r.id]; twice {
			continue
		}
		at[r.id] = i
		ids, clients = append(ids, r.id), append(clients, r.clientID)
		generations, nexts = append(generations, r.generation), append(nexts, r.next)
		nows, ends = append(nows, micros(r.now)), append(ends, micros(r.expiresAt))
	}
	answers := make([]*storage.RefreshFamily, len(asked))
	err := s.queryRows(ctx, s.write, func(rows *sql.Rows) error {
		family, err := scanFamily(rows.Scan)
		if err == nil {
			answers[at[family.ID]] = &family
		}
		return nil // that row alone is bad
	}, `UPDATE refresh_families SET generation = ($4::bigint[])[array_position($1::text[], id)],
			rotated_at = ($5::bigint[])[array_position($1::text[], id)], expires_at = ($6::bigint[])[array_position($1::text[], id)]
		WHERE id = ANY(ARRAY(SELECT id FROM refresh_families WHERE id = ANY(ARRAY(SELECT unnest($1::text[]))) FOR NO KEY UPDATE SKIP LOCKED))
			AND client_id = ($2::text[])[array_position($1::text[], id)] AND generation = ($3::bigint[])[array_position($1::text[], id)]
			AND revoked_at = 0 AND expires_at > ($5::bigint[])[array_position($1::text[], id)] RETURNING `+familyColumns,
		ids, clients, generations, nexts, nows, ends)
	return answers, err
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
	return scanFamily(func(dest ...any) error { return s.queryRow(ctx, q, dest, query, args...) })
}

// scanFamily reads familyColumns.
func scanFamily(scan func(dest ...any) error) (storage.RefreshFamily, error) {
	var f storage.RefreshFamily
	var scopes, epochs string
	var authTime, createdAt, rotatedAt, expiresAt, revokedAt int64
	err := scan(&f.ID, &f.Nonce, &f.Generation, &f.ClientID, &f.UserID, &f.OrgID, &scopes, &authTime, &f.SessionID,
		&f.CodeHash, &epochs, &createdAt, &rotatedAt, &expiresAt, &revokedAt)
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
