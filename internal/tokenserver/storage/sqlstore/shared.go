// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tracing"
)

const (
	// writing and reading are how many statements of a kind may be under way before
	// callers share them. Many commits are synced together by the engine: a few that
	// overlap are faster than one for all. A lookup waits for no disk.
	writing, reading = 8, 1
	// patience is for how long callers wait for others' statement before theirs is begun
	// beside it: they do not share its fault.
	patience = 100 * time.Millisecond
	// hanging is after how long a lookup that callers share is left to each alone: what
	// hangs may be its connection only.
	hanging = time.Second
)

// shared is a statement that callers share who wait for it at the same time: the
// round trip, and the commit if there is one, are what it costs. Whatever is not plain
// success is left to the same statement for each alone, so that nobody's answer
// depends on whom it was shared with.
type shared[Q, A any] struct {
	store *Store
	queue queue[*sharing[Q, A]]
	one   func(ctx context.Context, asked Q) (A, error)
	// all returns what it has answered by position, nil for what it has not.
	all func(ctx context.Context, asked []Q) ([]*A, error)
	// operation is what traces call it.
	operation string
	// reads tells that asking again changes nothing.
	reads bool
}

// sharing is one caller of a shared statement.
type sharing[Q, A any] struct {
	call
	asked  Q
	answer A
	// alone tells that the caller has to ask alone.
	alone bool
}

func (s *shared[Q, A]) ask(ctx context.Context, asked Q) (A, error) {
	if !s.store.dialect.Share {
		return s.one(ctx, asked)
	}
	ctx, cancel := context.WithTimeout(ctx, maxStatement)
	defer cancel()
	c := &sharing[Q, A]{call: call{ctx: ctx}, asked: asked}
	if err := s.queue.do(c); err != nil {
		return c.answer, s.store.waited(ctx, err)
	}
	if c.alone {
		return s.one(ctx, asked)
	}
	return c.answer, nil
}

func (s *shared[Q, A]) carryOut(group []*sharing[Q, A]) {
	if len(group) > 1 {
		s.together(group)
		return
	}
	c := group[0]
	var err error
	c.answer, err = s.one(c.ctx, c.asked)
	c.finish(err)
}

func (s *shared[Q, A]) together(group []*sharing[Q, A]) {
	// Whoever gives up does not take the others' answers away.
	limit := maxStatement
	if s.reads {
		limit = hanging
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	asked := make([]Q, len(group))
	for i, c := range group {
		asked[i] = c.asked
	}
	start := time.Now()
	answers, err := s.all(ctx, asked)
	// Where it is unknown what became of the statement, it is for every caller.
	lost := err != nil && !s.reads && (ctx.Err() != nil || !s.store.undone(err))
	for i, c := range group {
		tracing.Database(c.ctx, s.store.dialect.System, s.operation, start, err != nil)
		switch {
		case lost:
			c.finish(err)
		case err != nil || answers[i] == nil:
			c.alone = true
			c.finish(nil)
		default:
			c.answer = *answers[i]
			c.finish(nil)
		}
	}
}

// undone tells that nothing was kept of a statement with that error.
func (s *Store) undone(err error) bool {
	return errors.Is(err, ErrRolledBack) || s.dialect.Undone != nil && s.dialect.Undone(err)
}

// statements are those that requests wait for.
type statements struct {
	rotation   *shared[rotation, storage.RefreshFamily]
	use        *shared[use, struct{}]
	family     *shared[string, storage.RefreshFamily]
	opaque     *shared[[]byte, storage.OpaqueToken]
	user       *shared[string, storage.User]
	userByName *shared[userName, storage.User]
}

func (s *Store) newStatements() statements {
	return statements{
		rotation: newShared(s, "update refresh_families", false, s.rotate, s.rotateAll),
		use:      newShared(s, "insert used_assertions", false, s.noteUse, s.noteUses),
		family: newLookup(s, familyColumns, "refresh_families", []column{{"id", "text"}}, scanFamily,
			func(id string) []any { return []any{id} }),
		opaque: newLookup(s, "client_id, document, expires_at", "opaque_tokens", []column{{"hash", "bytea"}}, scanOpaque,
			func(hash []byte) []any { return []any{hash} }),
		user: newLookup(s, userColumns, "users", []column{{"id", "text"}}, scanUser,
			func(id string) []any { return []any{id} }),
		userByName: newLookup(s, userColumns, "users", []column{{"org_id", "text"}, {"id_provider_id", "text"}, {"name", "text"}}, scanUser,
			func(n userName) []any { return []any{n.orgID, n.idProviderID, n.name} }),
	}
}

func newShared[Q, A any](
	s *Store, operation string, reads bool, one func(context.Context, Q) (A, error), all func(context.Context, []Q) ([]*A, error),
) *shared[Q, A] {
	shared := &shared[Q, A]{store: s, one: one, all: all, operation: operation, reads: reads}
	lanes := writing
	if reads {
		lanes = reading
	}
	shared.queue = queue[*sharing[Q, A]]{lanes: lanes, patience: patience, carryOut: shared.carryOut}
	return shared
}

// column is one of a unique key, with its type in PostgreSQL.
type column struct{ name, kind string }

// newLookup finds rows by a unique key. scan reads the columns of one.
func newLookup[Q, A any](
	s *Store, columns, table string, by []column, scan func(func(dest ...any) error) (A, error), key func(Q) []any,
) *shared[Q, A] {
	var mine, asked, equal, arrays []string
	for i, c := range by {
		mine, asked = append(mine, c.name+" = ?"), append(asked, c.name)
		equal = append(equal, table+"."+c.name+" = asked."+c.name)
		arrays = append(arrays, fmt.Sprintf("(SELECT $%d::%s[])", i+1, c.kind))
	}
	one := "SELECT " + columns + " FROM " + table + " WHERE " + strings.Join(mine, " AND ")
	// Each is looked for in the index. What the arrays hold is kept from the planner,
	// which would make a plan for each.
	all := "SELECT n, found.* FROM unnest(" + strings.Join(arrays, ", ") + ") WITH ORDINALITY AS asked (" + strings.Join(asked, ", ") + ", n), LATERAL (SELECT " +
		columns + " FROM " + table + " WHERE " + strings.Join(equal, " AND ") + " LIMIT 1) AS found"
	operation := operationOf(one)
	return newShared(s, operation, true, func(ctx context.Context, q Q) (A, error) {
		return scan(func(dest ...any) error { return s.queryRow(ctx, s.read, dest, one, key(q)...) })
	}, func(ctx context.Context, asked []Q) ([]*A, error) {
		answers := make([]*A, len(asked))
		err := s.queryRowsAs(ctx, s.read, operation, func(rows *sql.Rows) error {
			var n int64
			answer, err := scan(func(dest ...any) error { return rows.Scan(append([]any{&n}, dest...)...) })
			if err == nil {
				answers[n-1] = &answer
			}
			return nil // that row alone is bad
		}, all, arraysOf(asked, key)...)
		return answers, err
	})
}

// arraysOf are the keys as one array for each column.
func arraysOf[Q any](asked []Q, key func(Q) []any) []any {
	arrays := make([]any, len(key(asked[0])))
	for _, q := range asked {
		for i, value := range key(q) {
			switch value := value.(type) {
			case string:
				texts, _ := arrays[i].([]string)
				arrays[i] = append(texts, value)
			case []byte:
				blobs, _ := arrays[i].([][]byte)
				arrays[i] = append(blobs, value)
			}
		}
	}
	return arrays
}
