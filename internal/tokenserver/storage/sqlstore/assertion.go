// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"strconv"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// use is one of an assertion.
type use struct {
	clientID, jti string
	expiresAt     time.Time
}

// UseAssertion implements storage.Assertions.
func (s *Store) UseAssertion(ctx context.Context, clientID, jti string, expiresAt time.Time) error {
	if err := checkTexts([]string{clientID, jti}); err != nil {
		return err
	}
	_, err := s.shared.use.ask(ctx, use{clientID, indexed(jti), expiresAt})
	return err
}

// The very same use may be noted again.
const noteUse = ` ON CONFLICT (client_id, jti) DO UPDATE SET expires_at = excluded.expires_at WHERE used_assertions.expires_at = excluded.expires_at`

func (s *Store) noteUse(ctx context.Context, u use) (none struct{}, err error) {
	n, err := s.singleExec(ctx, `INSERT INTO used_assertions (client_id, jti, expires_at) VALUES (?, ?, ?)`+noteUse, u.clientID, u.jti, micros(u.expiresAt))
	if err == nil && n == 0 {
		err = storage.ErrAlreadyExists
	}
	return none, err
}

// noteUses notes those of several that are new, in an order in which two of them never
// wait for each other. The rest is left to be told alone. One that another transaction
// has noted and not committed is waited for, but not for long: then all are.
func (s *Store) noteUses(ctx context.Context, asked []use) ([]*struct{}, error) {
	type key struct{ clientID, jti string }
	var clients, jtis []string
	var ends []int64
	at := map[key]int{}
	for i, u := range asked {
		if _, twice := at[key{u.clientID, u.jti}]; twice {
			continue
		}
		at[key{u.clientID, u.jti}] = i
		clients, jtis, ends = append(clients, u.clientID), append(jtis, u.jti), append(ends, micros(u.expiresAt))
	}
	answers := make([]*struct{}, len(asked))
	err := s.queryRows(ctx, s.write, func(rows *sql.Rows) error {
		var k key
		err := rows.Scan(&k.clientID, &k.jti)
		if err == nil {
			answers[at[k]] = &struct{}{}
		}
		return err
	}, `INSERT INTO used_assertions (client_id, jti, expires_at)
		SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[]) AS asked (client_id, jti, expires_at)
		WHERE set_config('lock_timeout', $4, true) <> ''
		ORDER BY client_id COLLATE "C", jti COLLATE "C"`+noteUse+` RETURNING client_id, jti`,
		clients, jtis, ends, strconv.FormatInt(patience.Milliseconds(), 10))
	return answers, err
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
