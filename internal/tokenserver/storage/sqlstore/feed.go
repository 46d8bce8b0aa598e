// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"fmt"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// recordChange adds an entry to the change feed and returns its id, which grows
// with every change of the database. The entry's time is when it is written: it is
// kept for a while from then on.
func (s *Store) recordChange(ctx context.Context, tx *sql.Tx, kind storage.ChangeKind, name string) (int64, error) {
	change := storage.Change{Kind: kind, Key: name, At: fromMicros(micros(s.now()))}
	err := s.queryRow(ctx, tx, []any{&change.ID}, `INSERT INTO changes (kind, name, at) VALUES (?, ?, ?) RETURNING id`, string(kind), name, micros(change.At))
	if err == nil {
		s.own.record(tx, change)
	}
	return change.ID, err
}

// Changes implements storage.Feed.
func (s *Store) Changes(ctx context.Context, from int64) ([]storage.Change, error) {
	own := s.own.take()
	changes, err := s.changes(ctx, `SELECT id, kind, name, at FROM changes WHERE id >= ?`, from)
	if err != nil {
		s.own.putBack(own)
		return nil, err
	}
	if lost, ok := missing(own, from, s.now().Add(-keepChanges), changes); ok {
		return nil, fmt.Errorf("%w: change %d, of %s", storage.ErrWentBack, lost.ID, lost.At)
	}
	return changes, nil
}

// LatestChanges implements storage.Feed.
func (s *Store) LatestChanges(ctx context.Context, n int) ([]storage.Change, error) {
	return s.changes(ctx, `SELECT id, kind, name, at FROM changes WHERE id IN (SELECT id FROM changes ORDER BY id DESC LIMIT ?)`, n)
}

func (s *Store) changes(ctx context.Context, query string, args ...any) ([]storage.Change, error) {
	var changes []storage.Change
	err := s.queryRows(ctx, s.read, func(rows *sql.Rows) error {
		var change storage.Change
		var at int64
		err := rows.Scan(&change.ID, &change.Kind, &change.Key, &at)
		change.At = fromMicros(at)
		changes = append(changes, change)
		return err
	}, query+` UNION ALL SELECT 0, '', id, 0 FROM installation ORDER BY 1`, args...)
	if err != nil {
		return nil, err
	}
	// The first row says whose entries these are.
	if len(changes) == 0 || changes[0].ID != 0 {
		return nil, s.recognise("")
	}
	return changes[1:], s.recognise(changes[0].Key)
}

// Writers implements storage.Feed.
func (s *Store) Writers(ctx context.Context) ([]string, error) {
	if s.dialect.Writers == "" {
		return nil, nil
	}
	var writers []string
	err := s.queryRows(ctx, s.read, func(rows *sql.Rows) error {
		var writer string
		err := rows.Scan(&writer)
		writers = append(writers, writer)
		return err
	}, s.dialect.Writers)
	return writers, err
}
