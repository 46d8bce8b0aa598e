// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/testenv/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlcopy"
)

const onSQLite = "sqlite: {path: tokenserver.db}"

// alter writes a copy of the configuration with another text in it.
func (s *site) alter(name, old, replacement string) {
	s.t.Helper()
	content, err := os.ReadFile(s.path("tokenserver.yaml"))
	require.NoError(s.t, err)
	require.Contains(s.t, string(content), old)
	s.write(name, strings.Replace(string(content), old, replacement, 1))
}

// withPostgreSQL writes postgresql.yaml: the configuration with an empty database
// of PostgreSQL, behind a pooler or not.
func (s *site) withPostgreSQL(port int, database string) {
	s.t.Helper()
	s.write("database-password", postgresql.Password+"\n")
	s.alter("postgresql.yaml", onSQLite, fmt.Sprintf(
		`postgresql: {url: "postgresql://%s@127.0.0.1:%d/%s", passwordFile: database-password}`, postgresql.User, port, database))
}

func (r *server) stopped() {
	r.t.Helper()
	r.terminate()
	require.Zero(r.t, r.exit())
}

func TestADatabaseMovesToPostgreSQLAndBack(t *testing.T) {
	server := postgresql.Shared(t)
	for name, port := range map[string]int{"directly": server.Port, "through pgbouncer": postgresql.SharedBouncer(t).Port} {
		t.Run(name, func(t *testing.T) {
			database, _ := server.Database(t, "")
			s := newSite(t)
			s.withPostgreSQL(port, database)
			s.alter("back.yaml", onSQLite, "sqlite: {path: back.db}")
			move := func(from, to string) (string, string, int) {
				return s.command("", "database", "copy", "--from="+from, "--to="+to)
			}

			r := s.start().ready()
			kids := r.keyIDs()
			_, early := r.token(canary)
			status, _ := r.manageWith(early, http.MethodPost, "", `{"client_name":"kept","grant_types":["client_credentials"]}`)
			require.Equal(t, http.StatusCreated, status)
			_, stderr, code := move("tokenserver.yaml", "postgresql.yaml")
			require.Equal(t, exitFailed, code)
			require.Contains(t, stderr, "the database is in use by another process (pid ")
			require.Contains(t, stderr, "\nhint: stop every token server")
			// Killed: the newest is in the -wal.
			require.NoError(t, r.cmd.Process.Kill())
			<-r.done

			stdout, stderr, code := move("tokenserver.yaml", "postgresql.yaml")
			require.Zero(t, code, stderr)
			require.Contains(t, stdout, "from  SQLite database tokenserver.db\nto    PostgreSQL database postgresql://")
			require.Regexp(t, `(?m)^apps +2$`, stdout)
			require.Regexp(t, `\d+ tables with \d+ rows were copied, read back and found equal\.\nAll 6 keys can be opened`, stdout)
			require.Contains(t, stdout, "Start the server with --config=postgresql.yaml, and never again with --config=tokenserver.yaml.\n")
			require.NotContains(t, stdout+stderr, postgresql.Password)

			r = s.start("--config=postgresql.yaml").ready()
			require.Equal(t, kids, r.keyIDs())
			status, list := r.manageWith(early, http.MethodGet, "", "")
			require.Equal(t, http.StatusOK, status, "a token from before")
			require.Len(t, list["data"], 1)
			_, late := r.token(canary)
			_, stderr, code = move("postgresql.yaml", "back.yaml")
			require.Equal(t, exitFailed, code)
			require.Regexp(t, `the database is in use by another process: tokenserver \(pid \d+, from 127\.0\.0\.1\) works on it\nhint: stop every token server`, stderr)
			require.NoFileExists(t, s.path("back.db"))
			r.stopped()

			stdout, stderr, code = move("postgresql.yaml", "back.yaml")
			require.Zero(t, code, stderr)
			require.Regexp(t, `(?m)^apps +2$`, stdout)
			r = s.start("--config=back.yaml").ready()
			require.Equal(t, kids, r.keyIDs())
			for _, token := range []string{early, late} {
				status, back := r.manageWith(token, http.MethodGet, "", "")
				require.Equal(t, http.StatusOK, status)
				require.Equal(t, list, back, "the same client, secret and revision")
			}
		})
	}
}

func TestDatabaseCopySaysWhatIsInItsWay(t *testing.T) {
	server := postgresql.Shared(t)
	database, _ := server.Database(t, "")
	s := newSite(t)
	s.withPostgreSQL(server.Port, database)
	s.start().ready().stopped()
	s.write("other-key", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{8}, 32)))
	for name, test := range map[string]struct {
		prepare    func()
		args       []string
		code       int
		want, hint string
	}{
		"no target": {nil, nil, exitUsage, "--to is required", "--help"},
		"a target without a file": {
			nil, []string{"--to=none.yaml"}, exitFailed, "loading none.yaml: reading the configuration: open none.yaml: no such file", "",
		},
		"the source itself": {
			func() { s.alter("same.yaml", onSQLite, "sqlite: {path: ./tokenserver.db}") },
			[]string{"--to=same.yaml"}, exitFailed,
			"copying: tokenserver.yaml and same.yaml name the same database, SQLite database tokenserver.db", "name another database under storage of same.yaml",
		},
		"a source that is not there": {
			func() { s.alter("absent.yaml", onSQLite, "sqlite: {path: absent.db}") },
			[]string{"--from=absent.yaml", "--to=postgresql.yaml"}, exitFailed,
			"copying: opening the database: stat absent.db: no such file", "correct storage in absent.yaml",
		},
		"a source that is no token server's": {
			func() {
				s.write("empty.db", "")
				s.alter("empty.yaml", onSQLite, "sqlite: {path: empty.db}")
			},
			[]string{"--from=empty.yaml", "--to=postgresql.yaml"}, exitFailed,
			"copying: the database holds no token server's data", "correct storage in empty.yaml",
		},
		"a SQLite file that is there": {
			func() {
				s.alter("full.yaml", onSQLite, "sqlite: {path: full.db}")
				s.start("--config=full.yaml").ready().stopped()
			},
			[]string{"--to=full.yaml"}, exitFailed, "copying: the database is not empty: it has the tables app_secrets, apps, authorization_codes and ",
			"name a file that is not there in storage.sqlite.path, or move this one away",
		},
		"another encryption key": {
			func() {
				s.write("key.yaml", strings.NewReplacer("[encryption-key]", "[other-key]", onSQLite, "sqlite: {path: new.db}").Replace(config))
			},
			[]string{"--to=key.yaml"}, exitFailed, "copying: no encryption key fits this database",
			"list the encryption keys of tokenserver.yaml under encryptionKeyFiles of key.yaml; nothing was written",
		},
		"a user who may not make tables": {
			func() {
				other, _ := server.Database(t, "")
				require.NoError(t, server.Exec(t.Context(), "postgres", `ALTER DATABASE `+other+` OWNER TO postgres`))
				content, err := os.ReadFile(s.path("postgresql.yaml"))
				require.NoError(t, err)
				s.write("foreign.yaml", strings.Replace(string(content), "/"+database, "/"+other, 1))
			},
			[]string{"--to=foreign.yaml"}, exitFailed, "copying: ", "let the user make tables in it: the database should be its own",
		},
		"a table of somebody else": {
			func() {
				require.NoError(t, server.Exec(t.Context(), database, `CREATE TABLE accounts (name TEXT)`))
			},
			[]string{"--to=postgresql.yaml"}, exitFailed, "copying: the database is not empty: it has the tables accounts",
			"make a new database (CREATE DATABASE",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if test.prepare != nil {
				test.prepare()
			}
			_, stderr, code := s.command("", append([]string{"database", "copy"}, test.args...)...)
			require.Equal(t, test.code, code, stderr)
			require.Contains(t, stderr, "tokenserver: "+test.want)
			require.Contains(t, stderr, "\nhint: ")
			require.Contains(t, stderr, test.hint)
		})
	}
	require.NoFileExists(t, s.path("new.db"), "nothing is left of what was refused")
	require.NoFileExists(t, s.path("absent.db"))
	_, stderr, code := s.command("", "database", "copy", "--from=postgresql.yaml", "--to=key.yaml")
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "no token server's data")
}

func TestSomebodyWhoWaitsForACopyIsToldHowFarItIs(t *testing.T) {
	var out bytes.Buffer
	tell := tellEvery(0, &out)
	tell(sqlcopy.Step{Doing: "copying", Table: "apps", Rows: 500, Of: 1777})
	require.Equal(t, "copying apps: 500 of 1777 rows\n", out.String())
	tellEvery(progressEvery, &out)(sqlcopy.Step{Doing: "comparing"})
	require.Equal(t, "copying apps: 500 of 1777 rows\n", out.String(), "not within the first two seconds")
}
