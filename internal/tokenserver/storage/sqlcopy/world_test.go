// SPDX-License-Identifier: Apache-2.0

package sqlcopy_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	testserver "connectedapps.dev/operator/internal/testenv/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlstore"
	"connectedapps.dev/operator/internal/tokenserver/storage/storagetest"
)

// database is one of either engine, whatever it holds.
type database struct {
	t *testing.T
	// driver and source are for database/sql, beside what is tested.
	driver, source string
	open           func() (*sqlstore.Store, error)
	// migrate makes or migrates the schema and its one row.
	migrate func() (*sqlstore.Store, error)
}

func newSQLite(t *testing.T) *database {
	t.Helper()
	return sqliteAt(t, filepath.Join(t.TempDir(), "tokenserver.db"))
}

func sqliteAt(t *testing.T, path string) *database {
	return &database{
		t: t, driver: "sqlite", source: "file:" + path + "?_pragma=foreign_keys(1)",
		open:    func() (*sqlstore.Store, error) { return sqlite.OpenAsIs(path) },
		migrate: func() (*sqlstore.Store, error) { return sqlite.Open(t.Context(), path, storagetest.Epoch) },
	}
}

func newPostgreSQL(t *testing.T) *database {
	t.Helper()
	server := testserver.Shared(t)
	name, _ := server.Database(t, "")
	return postgreSQLAt(t, server.URL(name))
}

func postgreSQLAt(t *testing.T, address string) *database {
	o := optionsOf(t, address)
	return &database{
		t: t, driver: "pgx", source: address,
		open:    func() (*sqlstore.Store, error) { return postgresql.OpenAsIs(t.Context(), o) },
		migrate: func() (*sqlstore.Store, error) { return postgresql.Open(t.Context(), o, storagetest.Epoch) },
	}
}

// optionsOf are those of a URL with a password.
func optionsOf(t *testing.T, address string) postgresql.Options {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	password, _ := u.User.Password()
	u.User = url.User(u.User.Username())
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte(password+"\n"), 0o600))
	return postgresql.Options{URL: u.String(), PasswordFile: file}
}

// opened is closed with the test, or before.
func (d *database) opened() *sqlstore.Store {
	d.t.Helper()
	s, err := d.open()
	require.NoError(d.t, err)
	d.t.Cleanup(func() { _ = s.Close() })
	return s
}

func (d *database) made() *database {
	d.t.Helper()
	s, err := d.migrate()
	require.NoError(d.t, err)
	require.NoError(d.t, s.Close())
	return d
}

func (d *database) raw(do func(*sql.DB)) {
	d.t.Helper()
	db, err := sql.Open(d.driver, d.source)
	require.NoError(d.t, err)
	defer func() { require.NoError(d.t, db.Close()) }()
	db.SetMaxOpenConns(1)
	do(db)
}

func (d *database) exec(statements ...string) {
	d.t.Helper()
	d.raw(func(db *sql.DB) {
		for _, statement := range statements {
			_, err := db.ExecContext(d.t.Context(), statement)
			require.NoError(d.t, err, statement)
		}
	})
}

// tables are all of the database, also that of the migrations.
func (d *database) tables() (names []string) {
	d.t.Helper()
	query := `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY 1`
	if d.driver == "pgx" {
		query = `SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY table_name COLLATE "C"`
	}
	d.raw(func(db *sql.DB) {
		for _, row := range read(d.t, db, query) {
			names = append(names, row[0].(string))
		}
	})
	return names
}

// read returns all rows of a query.
func read(t *testing.T, db *sql.DB, query string) (all [][]any) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	names, err := rows.Columns()
	require.NoError(t, err)
	for rows.Next() {
		row, into := make([]any, len(names)), make([]any, len(names))
		for i := range row {
			into[i] = &row[i]
		}
		require.NoError(t, rows.Scan(into...))
		all = append(all, row)
	}
	require.NoError(t, rows.Err())
	return all
}

// dump is everything in the database: a line for every row.
func (d *database) dump() (lines []string) {
	d.t.Helper()
	tables := d.tables()
	d.raw(func(db *sql.DB) {
		for _, name := range tables {
			for _, row := range read(d.t, db, `SELECT * FROM `+name) {
				line := name
				for _, value := range row {
					if b, ok := value.([]byte); ok {
						value = fmt.Sprintf("bytes %x", b) // drivers differ in how they return none
					}
					line += fmt.Sprintf(" %T %#v", value, value)
				}
				lines = append(lines, line)
			}
		}
	})
	slices.Sort(lines)
	return lines
}

// Values that engines, drivers and collations treat differently.
var (
	texts = []any{"", "é e\u0301 \u2603 \U0001F600 ß Z a", `'"\ $1 ? % _ ${TEXT} {"a":[null]}` + "\r\n\t", "B\u00a0\x7f\uffff"}
	ints  = []any{int64(0), int64(math.MinInt64), int64(math.MaxInt64), int64(1<<53 + 1)}
	blobs = []any{[]byte{}, []byte{0}, []byte("\xff\x00\xfe'\\x00"), allBytes()}
)

func allBytes() []byte {
	all := bytes.Repeat([]byte{0}, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return all
}

// fill gives every column of every table of a SQLite database all the values, and a
// NULL where it may be: it asks the database which there are. Rows of the same
// number refer to each other.
func (d *database) fill() *database {
	d.t.Helper()
	tables := d.tables()
	d.raw(func(db *sql.DB) {
		_, err := db.ExecContext(d.t.Context(), `PRAGMA foreign_keys = OFF`)
		require.NoError(d.t, err)
		for _, name := range tables {
			if name != "goose_db_version" {
				d.fillTable(db, name)
			}
		}
		require.Empty(d.t, read(d.t, db, `PRAGMA foreign_key_check`))
		// A number that was given and is not there any more.
		_, err = db.ExecContext(d.t.Context(), `DELETE FROM changes WHERE id = (SELECT MAX(id) FROM changes)`)
		require.NoError(d.t, err)
	})
	return d
}

func (d *database) fillTable(db *sql.DB, name string) {
	d.t.Helper()
	_, err := db.ExecContext(d.t.Context(), `DELETE FROM `+name)
	require.NoError(d.t, err)
	rows := len(texts) + 1
	if name == "installation" {
		rows = 1 // by its constraint
	}
	for n := range rows {
		var columns, places string
		var values []any
		for _, c := range read(d.t, db, `SELECT name, type, "notnull", pk FROM pragma_table_info('`+name+`')`) {
			column, kind, nullable := c[0].(string), c[1].(string), c[2].(int64) == 0 && c[3].(int64) == 0
			value := map[string][]any{"TEXT": texts, "INTEGER": ints, "BLOB": blobs}[kind][n%len(texts)]
			switch {
			case name == "installation" && column == "singleton":
				value = int64(1)
			case name == "installation" && column == "id":
				value = "é 1" // empty is none
			case name == "changes" && column == "id":
				value = int64(10 * (n + 1))
			case n == len(texts) && nullable:
				value = nil
			case n == len(texts):
				// One more of each, so that the NULLs are beside keys of their own.
				value = map[string]any{"TEXT": "last", "INTEGER": int64(-1), "BLOB": []byte("last")}[kind]
			}
			columns, places, values = columns+", "+column, places+", ?", append(values, value)
		}
		_, err := db.ExecContext(d.t.Context(), `INSERT INTO `+name+` (`+columns[2:]+`) VALUES (`+places[2:]+`)`, values...)
		require.NoError(d.t, err, "table %s", name)
	}
}
