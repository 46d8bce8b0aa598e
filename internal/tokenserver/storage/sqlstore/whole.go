// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// ErrNotEmpty says that a database which must be empty has tables.
var ErrNotEmpty = errors.New("the database is not empty")

// ErrOlderSchema says that an earlier release wrote the database and this one has
// not migrated it.
var ErrOlderSchema = errors.New("the database belongs to an earlier release")

// ErrInDoubt says that the engine did not tell whether it kept what was written.
var ErrInDoubt = errors.New("it is not known whether the copy was kept")

// ErrNoTables says that a database holds no token server's data.
var ErrNoTables = errors.New("the database holds no token server's data")

// versions is the table of migrations. Its name is that of the tool which made it
// in earlier databases, with columns of its own.
const versions = "goose_db_version"

// Catalog are the words of a Dialect for what a database holds. In all of them
// ${TABLE} and ${COLUMN} stand for names.
type Catalog struct {
	// Columns is a query for every column: table, column, and whether the engine
	// numbers it (1 or 0); tables by name, columns in their order.
	Columns string
	// References is a query for pairs of tables: a row of the first needs one of the
	// second.
	References string
	// LastNumber is a query for the last number given to a column that the engine
	// numbers, 0 when there is none. SetLastNumber takes it.
	LastNumber, SetLastNumber string
	// Override stands before VALUES when such a column is written.
	Override string
	// Others is a query for a text that names a client which has worked on the
	// database since the transaction began, or does, with Refresh before it. Both are
	// empty where no second process can have it open.
	Refresh, Others string
}

// Whole is a transaction over everything a database holds, for a copy of it. It has
// no deadline.
type Whole struct {
	store *Store
	tx    *sql.Tx
}

// watchFor is how long a database is watched before it counts as unused. A server
// asks its change feed twice a second.
const watchFor = 3 * time.Second

// watchEvery is how soon a server is noticed while it is watched.
const watchEvery = 250 * time.Millisecond

// ReadWhole runs do on one snapshot of a database that no server works on and that
// has exactly this program's schema. Errors: storage.ErrInUse, ErrNoTables,
// ErrOlderSchema, storage.ErrNewerSchema. It writes nothing.
func (s *Store) ReadWhole(ctx context.Context, do func(*Whole) error) error {
	tx, err := s.begin(ctx, s.read, &sql.TxOptions{ReadOnly: true, Isolation: s.dialect.Snapshot}, "begin copy")
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	// No server starts meanwhile: it would wait for the lock of the schema.
	if err := s.takeSchema(ctx, tx); err != nil {
		return err
	}
	w := &Whole{store: s, tx: tx}
	if err := w.sameSchema(ctx); err != nil {
		return err
	}
	if err := w.watch(ctx); err != nil {
		return err
	}
	return do(w)
}

// WriteWhole makes the schema in an empty database, without any row but those of
// the migrations, runs do in the same transaction and commits it. ErrNotEmpty when
// the database has tables; then, and when do fails, nothing was written. ErrInDoubt
// when the commit was not answered.
func (s *Store) WriteWhole(ctx context.Context, do func(*Whole) error) error {
	migrations, err := s.migrations()
	if err != nil {
		return err
	}
	tx, err := s.begin(ctx, s.write, nil, "begin copy")
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	w := &Whole{store: s, tx: tx}
	// Also before the lock: the source may be the same database, and hold it.
	if err := w.empty(ctx); err != nil {
		return err
	}
	if err := s.takeSchema(ctx, tx); err != nil {
		return err
	}
	if err := w.empty(ctx); err != nil {
		return err
	}
	if err := s.lockSchema(ctx, tx); err != nil {
		return err
	}
	if err := s.migrate(ctx, tx, migrations); err != nil {
		return err
	}
	if err := do(w); err != nil {
		return err
	}
	if err := s.commit(ctx, tx); err != nil {
		return fmt.Errorf("%w: %w", ErrInDoubt, err)
	}
	return nil
}

func (w *Whole) empty(ctx context.Context) error {
	columns, err := w.columns(ctx)
	if err != nil || len(columns) == 0 {
		return err
	}
	var tables []string
	for _, c := range columns {
		if !slices.Contains(tables, c.Table) {
			tables = append(tables, c.Table)
		}
	}
	const shown = 3
	more := ""
	if len(tables) > shown {
		more = fmt.Sprintf(" and %d more", len(tables)-shown)
		tables = tables[:shown]
	}
	return fmt.Errorf("%w: it has the tables %s%s", ErrNotEmpty, strings.Join(tables, ", "), more)
}

// sameSchema refuses what this program would have to migrate, or does not know.
func (w *Whole) sameSchema(ctx context.Context) error {
	columns, err := w.columns(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(columns, func(c Column) bool { return c.Table == versions }) {
		return ErrNoTables
	}
	applied, err := w.store.applied(ctx, w.tx)
	if err != nil {
		return err
	}
	migrations, err := w.store.migrations()
	if err != nil {
		return err
	}
	known := map[int64]bool{0: true}
	for _, m := range migrations {
		known[m.version] = true
	}
	at, knows := slices.Max(slices.Collect(maps.Keys(applied))), slices.Max(slices.Collect(maps.Keys(known)))
	for version := range applied {
		if !known[version] {
			return fmt.Errorf("%w: its schema is at %d, this program knows %d", storage.ErrNewerSchema, at, knows)
		}
	}
	if len(applied) < len(known) {
		return fmt.Errorf("%w: its schema is at %d, this program's at %d", ErrOlderSchema, at, knows)
	}
	return nil
}

// watch looks for a while whether a server works on the database.
func (w *Whole) watch(ctx context.Context) error {
	if w.store.dialect.Catalog.Others == "" {
		return nil
	}
	end := time.After(watchFor)
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		if err := w.Unused(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end:
			return w.Unused(ctx)
		case <-ticker.C:
		}
	}
}

// Unused returns storage.ErrInUse when somebody else has worked on the database
// since w began.
//
// It goes by what the database server sees its clients do: a server that runs asks
// its change feed twice a second. A lock or a session of each server would not do,
// because behind a pooler no session is a server's own; and w holds one connection
// from its beginning to its end, so that no pooler gives it to somebody else.
func (w *Whole) Unused(ctx context.Context) error {
	catalog := w.store.dialect.Catalog
	if catalog.Others == "" {
		return nil
	}
	if _, err := w.store.exec(ctx, w.tx, catalog.Refresh); err != nil {
		return err
	}
	var who string
	err := w.store.queryRow(ctx, w.tx, []any{&who}, catalog.Others)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%w: %s", storage.ErrInUse, who)
}

// Column is one column of a database.
type Column struct {
	Table, Name string
	// Numbered tells that the engine numbers the rows by it.
	Numbered bool
}

// Columns returns every column of every table, but those of the table of
// migrations: tables by name, columns in their order.
func (w *Whole) Columns(ctx context.Context) ([]Column, error) {
	columns, err := w.columns(ctx)
	return slices.DeleteFunc(columns, func(c Column) bool { return c.Table == versions }), err
}

func (w *Whole) columns(ctx context.Context) ([]Column, error) {
	var columns []Column
	err := w.store.queryRows(ctx, w.tx, func(rows *sql.Rows) error {
		var c Column
		var numbered int
		err := rows.Scan(&c.Table, &c.Name, &numbered)
		c.Numbered = numbered == 1
		columns = append(columns, c)
		return err
	}, w.store.dialect.Catalog.Columns)
	return columns, err
}

// References returns, for every table with a foreign key, the tables that must be
// filled before it.
func (w *Whole) References(ctx context.Context) (map[string][]string, error) {
	before := map[string][]string{}
	err := w.store.queryRows(ctx, w.tx, func(rows *sql.Rows) error {
		var table, needed string
		err := rows.Scan(&table, &needed)
		before[table] = append(before[table], needed)
		return err
	}, w.store.dialect.Catalog.References)
	return before, err
}

// Count returns how many rows a table has.
func (w *Whole) Count(ctx context.Context, table string) (int64, error) {
	var n int64
	// Longer than any other statement may take.
	if err := w.tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM `+table).Scan(&n); err != nil {
		return 0, w.store.classify("counting the rows of "+table, err)
	}
	return n, nil
}

// Rows calls visit with every row of a table in the order of the columns, byte by
// byte, which is the same on every engine. visit may keep the row, not the slice.
// Values are nil, int64, string or []byte.
func (w *Whole) Rows(ctx context.Context, table string, columns []string, visit func(row []any) error) (err error) {
	names := strings.Join(columns, ", ")
	order := strings.Join(columns, " NULLS FIRST, ") + " NULLS FIRST"
	rows, err := w.tx.QueryContext(ctx, `SELECT `+names+` FROM `+table+` ORDER BY `+order) //nolint:gosec // names of the catalog
	if err != nil {
		return w.store.classify("reading "+table, err)
	}
	defer func() { _ = rows.Close() }()
	row, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range row {
		into[i] = &row[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return w.store.classify("reading "+table, err)
		}
		for i, value := range row {
			// One driver returns no bytes as none.
			if b, ok := value.([]byte); ok && b == nil {
				row[i] = []byte{}
			}
		}
		if err := visit(row); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return w.store.classify("reading "+table, err)
	}
	return nil
}

// MaxRows is how many rows of so many columns Insert takes at most: engines bound
// the number of arguments.
func (*Whole) MaxRows(columns int) int { return max(1, min(500, 30_000/columns)) }

// Insert adds rows, as they are, to a table; values holds one row after another.
func (w *Whole) Insert(ctx context.Context, table string, columns []string, values []any) error {
	if len(values) == 0 {
		return nil
	}
	one := "(" + strings.Repeat("?, ", len(columns)-1) + "?)"
	all := strings.Repeat(one+", ", len(values)/len(columns)-1) + one
	query := `INSERT INTO ` + table + ` (` + strings.Join(columns, ", ") + `)` + w.store.dialect.Catalog.Override + ` VALUES ` + all
	if _, err := w.tx.ExecContext(ctx, w.store.sql(query), values...); err != nil {
		return w.store.classify("writing "+table, err)
	}
	return nil
}

// LastNumber returns the last number that the engine gave to a numbered column.
func (w *Whole) LastNumber(ctx context.Context, c Column) (int64, error) {
	var n int64
	err := w.store.queryRow(ctx, w.tx, []any{&n}, named(w.store.dialect.Catalog.LastNumber, c))
	return n, err
}

// SetLastNumber makes the engine go on after n; 0 leaves it at its beginning.
func (w *Whole) SetLastNumber(ctx context.Context, c Column, n int64) error {
	if n == 0 {
		return nil
	}
	_, err := w.store.exec(ctx, w.tx, named(w.store.dialect.Catalog.SetLastNumber, c), n)
	return err
}

func named(query string, c Column) string {
	return strings.NewReplacer("${TABLE}", c.Table, "${COLUMN}", c.Name).Replace(query)
}

// DataKeys is that of storage.Keys.
func (w *Whole) DataKeys(ctx context.Context) ([]storage.DataKey, error) {
	return w.store.dataKeys(ctx, w.tx)
}

// SigningKeys is that of storage.Keys.
func (w *Whole) SigningKeys(ctx context.Context) (storage.SigningKeySet, error) {
	return w.store.signingKeySet(ctx, w.tx)
}
