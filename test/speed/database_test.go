// SPDX-License-Identifier: Apache-2.0

package speed

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	testpostgresql "connectedapps.dev/operator/internal/testenv/postgresql"
	"connectedapps.dev/operator/test/report"
)

// database is a PostgreSQL server on the servers' core.
type database struct {
	*testpostgresql.Server
	postmaster int
	// moved tells that it keeps to the servers' core.
	moved bool
}

var theDatabase = sync.OnceValues(func() (*database, error) {
	server, err := testpostgresql.Start(context.Background(), testpostgresql.Options{
		// What a server has when nobody says otherwise.
		Durable: true, Settings: []string{"shared_buffers = 128MB", "synchronous_commit = on"},
	})
	if err != nil {
		return nil, err
	}
	conn, err := server.Connect(context.Background(), "postgres")
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.Background()) }()
	var backend int
	if err := conn.QueryRow(context.Background(), `SELECT pg_backend_pid()`).Scan(&backend); err != nil {
		return nil, err
	}
	postmaster, err := strconv.Atoi(statistics(backend)[1])
	return &database{Server: server, postmaster: postmaster}, err
})

// startDatabase starts the server, once; it ends with this process.
func startDatabase(t testing.TB) *database {
	t.Helper()
	d, err := theDatabase()
	require.NoError(t, err)
	if pinned && !d.moved {
		d.moved = true
		// Those of connections follow the first; the others are there from the start.
		for _, pid := range d.processes() {
			moveTo(t, serverCore, pid)
		}
	}
	return d
}

// processes are the server's: the first, and one for each connection and duty.
func (d *database) processes() []int {
	all := []int{d.postmaster}
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if fields := statistics(pid); len(fields) > 1 && fields[1] == strconv.Itoa(d.postmaster) {
			all = append(all, pid)
		}
	}
	return all
}

func (d *database) processor(t testing.TB) (total time.Duration) {
	t.Helper()
	for _, pid := range d.processes() {
		// What a child has used that has just ended, its parent has.
		spent, _ := used(t, pid)
		total += spent
	}
	return total
}

// engine is where a token server, or the ceiling program, keeps what it keeps.
type engine struct {
	name string
	// database is nil for SQLite.
	database *database
}

func (e engine) String() string { return e.name }

func engines(t testing.TB) []engine {
	t.Helper()
	return []engine{onPostgreSQL(t), onSQLite()}
}

func onPostgreSQL(t testing.TB) engine { return engine{"PostgreSQL", startDatabase(t)} }

func onSQLite() engine { return engine{name: "SQLite"} }

// place is an empty database of the engine.
type place struct {
	engine
	// url is that of PostgreSQL, file that of SQLite.
	url, file string
}

func (e engine) place(t testing.TB) place {
	t.Helper()
	if e.database == nil {
		return place{engine: e, file: filepath.Join(t.TempDir(), "database.db")}
	}
	name, _ := e.database.Database(t, "")
	return place{engine: e, url: e.database.URL(name)}
}

// open opens the database beside the server, or in place of it.
func (p place) open(t testing.TB) *sql.DB {
	t.Helper()
	driver, source := "pgx", p.url
	if p.database == nil {
		// Nothing has to outlast the machine, and indexes are filled in no order.
		driver, source = "sqlite", "file:"+p.file+"?_pragma=busy_timeout(10000)&_pragma=foreign_keys(1)&_pragma=synchronous(OFF)&_pragma=cache_size(-262144)"
	}
	db, err := sql.Open(driver, source)
	require.NoError(t, err)
	return db
}

// multiply copies the only row of a table n times; change gets the number of a copy and
// a row by column, and makes the copy of it.
func (p place) multiply(t testing.TB, table string, n int, change func(n int, row map[string]any)) {
	t.Helper()
	db := p.open(t)
	defer func() { require.NoError(t, db.Close()) }()
	columns, row := only(t, db, table)
	made := 0
	next := func() ([]any, error) {
		if made == n {
			return nil, nil
		}
		if made%100_000 == 0 {
			report.Progress(t, "filling %s on %s: %s of %s", table, p, grouped(made), grouped(n))
		}
		change(made, row)
		made++
		values := make([]any, len(columns))
		for i, column := range columns {
			values[i] = row[column]
		}
		return values, nil
	}
	if p.database == nil {
		insert(t, db, table, columns, next)
		return
	}
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	require.NoError(t, conn.Raw(func(of any) error {
		_, err := of.(*stdlib.Conn).Conn().CopyFrom(t.Context(), pgx.Identifier{table}, columns, pgx.CopyFromFunc(next)) //nolint:forcetypeassert // documented
		return err
	}))
	require.NoError(t, conn.Close())
	p.vacuum(t)
}

// vacuum does what autovacuum does in a minute or so.
func (p place) vacuum(t testing.TB) {
	t.Helper()
	if p.database == nil {
		return
	}
	db := p.open(t)
	_, err := db.ExecContext(t.Context(), "VACUUM ANALYZE")
	require.NoError(t, err)
	require.NoError(t, db.Close())
}

// insert inserts rows into SQLite until there are no more.
func insert(t testing.TB, db *sql.DB, table string, columns []string, next func() ([]any, error)) {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(columns)), ", ")
	statement, err := tx.PrepareContext(t.Context(), "INSERT INTO "+table+" ("+strings.Join(columns, ", ")+") VALUES ("+marks+")")
	require.NoError(t, err)
	defer statement.Close()
	for values, _ := next(); values != nil; values, _ = next() {
		_, err := statement.ExecContext(t.Context(), values...)
		require.NoError(t, err)
	}
	require.NoError(t, tx.Commit())
}

// only takes the only row of a table out of it.
func only(t testing.TB, db *sql.DB, table string) (columns []string, row map[string]any) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT * FROM "+table)
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	columns, err = rows.Columns()
	require.NoError(t, err)
	require.True(t, rows.Next())
	values := make([]any, len(columns))
	pointers := make([]any, len(columns))
	for i := range values {
		pointers[i] = &values[i]
	}
	require.NoError(t, rows.Scan(pointers...))
	require.False(t, rows.Next())
	require.NoError(t, rows.Err())
	row = map[string]any{}
	for i, column := range columns {
		if text, ok := values[i].([]byte); ok {
			values[i] = slices.Clone(text)
		}
		row[column] = values[i]
	}
	require.NoError(t, rows.Close())
	_, err = db.ExecContext(t.Context(), "DELETE FROM "+table)
	require.NoError(t, err)
	return columns, row
}
