// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// keepRetiredSecrets is how long a retired secret is recognised as one.
	keepRetiredSecrets = 90 * 24 * time.Hour
	// keepChanges is far longer than replicas read an entry again.
	keepChanges = time.Hour
	// keepCodes is how long a code that is presented again is known.
	keepCodes = time.Hour
	// keepEpochs is longer than any access token lives (24 h): nothing of a
	// deleted app is left then, and a restored one begins at an epoch of its own.
	keepEpochs = 48 * time.Hour
)

// garbage is what expires: the table, its key, which rows at the argument, and the
// column of the index that finds them.
var garbage = []struct {
	table, key, where, by string
	keep                  time.Duration
}{
	{"app_secrets", "id", `expires_at > 0 AND expires_at < ?`, "expires_at", keepRetiredSecrets},
	{"revocations", "kind, name", `expires_at < ?`, "expires_at", 0},
	{"signing_keys", "id", `expires_at > 0 AND expires_at < ?`, "expires_at", 0},
	{"changes", "id", oldChanges, "at", keepChanges},
	{"authorization_codes", "hash", `expires_at < ?`, "expires_at", keepCodes},
	// postponeFamilies leaves no living one among the first.
	{"refresh_families", "id", `collect_at < ? AND expires_at < ?`, "collect_at", 0},
	{"sessions", "id", `expires_at < ?`, "expires_at", 0},
	{"opaque_tokens", "hash", `expires_at < ?`, "expires_at", 0},
	{"used_assertions", "client_id, jti", `expires_at < ?`, "expires_at", 0},
	// The value of an epoch is not below the time it was raised at.
	{"epochs", "kind, name", `kind = 'app' AND epoch < ? AND NOT EXISTS (SELECT 1 FROM apps WHERE client_id = name)`, "name", keepEpochs},
}

// oldChanges are those before the first that is young, since a server whose clock is
// slow writes among the young ones what only looks old, and not all replicas may have
// read it. What is hours ahead is not young: it would keep everything for ever. The
// last of the old ones stays, too: replicas find the newest entry they know for as
// long as none is newer, and then for keepChanges.
var oldChanges = fmt.Sprintf(`at < ? AND id < (SELECT max(id) FROM changes WHERE at < ?
	AND id < COALESCE((SELECT min(id) FROM changes WHERE at >= ? AND at - ? < %d), %d))`, (2 * keepChanges).Microseconds(), int64(math.MaxInt64))

// CollectGarbage implements storage.Collector: a short transaction for each
// table, so that a backlog never blocks the only writer. What another replica
// collects at the moment is left to it.
func (s *Store) CollectGarbage(ctx context.Context, now time.Time, batch int) (map[string]int, error) {
	gone := map[string]int{}
	if err := s.postponeFamilies(ctx, now, batch); err != nil {
		return gone, err
	}
	for _, g := range garbage {
		var n int64
		err := s.inTx(ctx, func(tx *sql.Tx) error {
			mine, err := s.tryCollect(ctx, tx)
			if err != nil || !mine {
				return err
			}
			args := slices.Repeat([]any{micros(now.Add(-g.keep))}, strings.Count(g.where, "?"))
			// In the order of the index, and with a limit that can be read: there is no
			// reason then to read the table instead, whatever the planner believes of how
			// many rows have expired.
			n, err = s.exec(ctx, tx,
				`DELETE FROM `+g.table+` WHERE (`+g.key+`) IN (SELECT `+g.key+` FROM `+g.table+` WHERE `+g.where+` ORDER BY `+g.by+` LIMIT `+strconv.Itoa(batch)+`)`,
				args...)
			return err
		})
		if err != nil {
			return gone, err
		}
		gone[g.table] = int(n)
	}
	return gone, nil
}

// postponeFamilies passes over the refresh families that were rotated since it was
// written down when they expire, in transactions of their own, until the first ones
// to look at have all expired. Each is passed over once in the life of a refresh
// token.
func (s *Store) postponeFamilies(ctx context.Context, now time.Time, batch int) error {
	for {
		var n int64
		err := s.inTx(ctx, func(tx *sql.Tx) error {
			mine, err := s.tryCollect(ctx, tx)
			if err != nil || !mine {
				return err
			}
			n, err = s.exec(ctx, tx, `UPDATE refresh_families SET collect_at = expires_at WHERE expires_at >= ? AND id IN
				(SELECT id FROM refresh_families WHERE collect_at < ? ORDER BY collect_at LIMIT `+strconv.Itoa(batch)+`)`, micros(now), micros(now))
			return err
		})
		if err != nil || n == 0 {
			return err
		}
	}
}

func (s *Store) tryCollect(ctx context.Context, tx *sql.Tx) (bool, error) {
	if s.dialect.TryCollect == "" {
		return true, nil
	}
	var mine bool
	err := s.queryRow(ctx, tx, []any{&mine}, s.dialect.TryCollect)
	return mine, err
}
