// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/text"
)

// refolding is the migration after whose statements refoldNames runs; it is
// known by its name, so that it may be renumbered until it is released.
const refolding = "_user_names.sql"

// storedName is one row of users.
type storedName struct{ id, orgID, providerID, folded string }

// refoldNames brings users.name to the form of text.Username. Databases made
// before it hold names that were only lower-cased: a composed and a decomposed ë
// were two users. Where two become one, the older is it from now on; the younger
// is kept, with all it has allowed, under a name that nobody can assert.
func (s *Store) refoldNames(ctx context.Context, tx *sql.Tx) error {
	names, err := s.storedNames(ctx, tx)
	if err != nil {
		return err
	}
	const rename = `UPDATE users SET name = ? WHERE id = ?`
	// First out of the way, for the new name of one may be the old of another.
	for _, n := range names {
		if _, err := s.exec(ctx, tx, rename, unreachable(n.id), n.id); err != nil {
			return fmt.Errorf("folding user names: %w", err)
		}
	}
	taken := map[storedName]bool{}
	for _, n := range names {
		key := storedName{orgID: n.orgID, providerID: n.providerID, folded: n.folded}
		if n.folded == "" || taken[key] {
			continue
		}
		taken[key] = true
		if _, err := s.exec(ctx, tx, rename, n.folded, n.id); err != nil {
			return fmt.Errorf("folding user names: %w", err)
		}
	}
	return nil
}

// unreachable is no form of any name: none begins with a space.
func unreachable(id string) string { return " " + id }

// storedNames returns all users with their names folded anew, the oldest first.
func (s *Store) storedNames(ctx context.Context, tx *sql.Tx) ([]storedName, error) {
	var all []storedName
	err := s.queryRows(ctx, tx, func(rows *sql.Rows) error {
		var n storedName
		var document string
		var user storage.User
		if err := rows.Scan(&n.id, &n.orgID, &n.providerID, &document); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(document), &user); err != nil {
			return fmt.Errorf("decoding user %s: %w", n.id, err)
		}
		// The name as asserted: the former rule made one of ı and i. A name that is
		// refused now cannot be asserted any more.
		n.folded, _ = text.Username(user.Username)
		all = append(all, n)
		return nil
	}, `SELECT id, org_id, id_provider_id, document FROM users ORDER BY created_at, id`)
	return all, err
}
