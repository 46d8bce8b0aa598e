// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tracing"
)

// Measure implements storage.Storage.
func (s *Store) Measure(observe func(operation string, took time.Duration, err error)) {
	s.observe.Store(&observe)
}

// measure tells of an operation that began at start and ends now.
func (s *Store) measure(ctx context.Context, operation string, start time.Time, err *error) {
	tracing.Database(ctx, s.dialect.System, operation, start, *err != nil && !errors.Is(*err, storage.ErrNotFound))
	if observe := s.observe.Load(); observe != nil {
		(*observe)(operation, time.Since(start), *err)
	}
}

// Pools implements storage.Storage.
func (s *Store) Pools() []storage.Pool {
	if s.read == s.write {
		return []storage.Pool{poolOf("read_write", s.write)}
	}
	read, write := poolOf("read", s.read), poolOf("write", s.write)
	waits, waited := s.writes.stats()
	write.Waits += waits
	write.Waited += waited
	return []storage.Pool{read, write}
}

func poolOf(name string, db *sql.DB) storage.Pool {
	stats := db.Stats()
	return storage.Pool{
		Name: name, Limit: stats.MaxOpenConnections, Open: stats.OpenConnections, InUse: stats.InUse,
		Waits: stats.WaitCount, Waited: stats.WaitDuration,
	}
}

// Size implements storage.Collector.
func (s *Store) Size(ctx context.Context) (int64, error) {
	var size int64
	err := s.queryRow(ctx, s.read, []any{&size}, s.dialect.Size)
	return size, err
}

// operationOf names a statement by its verb and its first table, such as "select
// apps": there are as many names as such pairs in this package.
func operationOf(query string) string {
	verb, table, next := "", "", false
	for word := range strings.FieldsSeq(query) {
		switch {
		case verb == "":
			verb, next = word, strings.EqualFold(word, "UPDATE")
			continue
		case next:
			table = word
		}
		if table != "" {
			break
		}
		next = strings.EqualFold(word, "FROM") || strings.EqualFold(word, "INTO")
	}
	if end := strings.IndexFunc(table, func(c rune) bool { return c != '_' && (c < 'a' || c > 'z') }); end >= 0 {
		table = table[:end]
	}
	return strings.ToLower(verb) + " " + table
}
