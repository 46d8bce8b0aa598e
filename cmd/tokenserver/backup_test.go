// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/testenv/postgresql"
)

// documented returns the commands below a heading of docs/tokenserver-database.md.
func documented(t *testing.T, heading string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/tokenserver-database.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(page), "# "+heading+"\n")
	require.True(t, found, heading)
	_, block, found := strings.Cut(section, "```sh\n")
	require.True(t, found, heading)
	block, _, found = strings.Cut(block, "```\n")
	require.True(t, found, heading)
	return block
}

// shell runs commands as a person does in the folder of the site. A last line that
// starts the server is left to start.
func (s *site) shell(commands string) string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), "bash", "-euc", strings.TrimSuffix(commands, "tokenserver serve\n"))
	programs, err := postgresql.Programs()
	require.NoError(s.t, err)
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+programs+":"+os.Getenv("PATH"), "HOME="+s.dir) // and its .pgpass
	stdout, stderr, code := s.finish(cmd, "")
	require.Zero(s.t, code, "%s\n%s", commands, stderr)
	return stdout
}

// register makes an app and returns its id.
func (r *server) register(name string) string {
	r.t.Helper()
	status, app := r.manage(http.MethodPost, "", fmt.Sprintf(`{"client_name":%q,"grant_types":["client_credentials"]}`, name))
	require.Equal(r.t, http.StatusCreated, status)
	return app["client_id"].(string)
}

// has tells whether the app is there.
func (r *server) has(id string) bool {
	r.t.Helper()
	status, _ := r.manage(http.MethodGet, "/"+id, "")
	require.Contains(r.t, []int{http.StatusOK, http.StatusNotFound}, status)
	return status == http.StatusOK
}

func TestTheDocumentedBackupOfSQLiteIsRestored(t *testing.T) {
	s := newSite(t)
	r := s.start().ready()
	before := r.register("before")
	_, token := r.token(canary)
	kids := r.keyIDs()

	// Others write all the while.
	writing, stop := sync.WaitGroup{}, make(chan struct{})
	wrote := make(chan struct{})
	writing.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
				r.register(fmt.Sprint("meanwhile ", n))
			}
			if n == 0 {
				close(wrote)
			}
		}
	})
	<-wrote
	said := s.shell(documented(t, "Back up SQLite"))
	close(stop)
	writing.Wait()
	require.Regexp(t, `^backup-[-\d]+\.db holds SQLite database tokenserver\.db, examined; the encryption keys of tokenserver\.yaml open all 6 keys in it\n$`, said)
	file, _, _ := strings.Cut(said, " ")
	info, err := os.Stat(s.path(file))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	after := r.register("after")
	// Killed: the newest is in the -wal, which must not come into the backup.
	require.NoError(t, r.cmd.Process.Kill())
	<-r.done
	require.FileExists(t, s.path("tokenserver.db-wal"))

	s.shell(regexp.MustCompile(`backup-[-\d]+\.db`).ReplaceAllString(documented(t, "Restore SQLite"), file))
	away, err := filepath.Glob(s.path("tokenserver.db.replaced-*/tokenserver.db-wal"))
	require.NoError(t, err)
	require.Len(t, away, 1, "the former database is kept")
	info, err = os.Stat(s.path("tokenserver.db"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	r = s.start().ready()
	require.True(t, r.has(before))
	require.False(t, r.has(after))
	require.Equal(t, kids, r.keyIDs())
	status, _ := r.manageWith(token, http.MethodGet, "", "")
	require.Equal(t, http.StatusOK, status)
	r.register("again")
}

func TestABackupGoesToStandardOutputWhole(t *testing.T) {
	s := newSite(t)
	r := s.start().ready()
	id := r.register("kept")
	stdout, stderr, code := s.command("", "database", "backup", "-")
	require.Zero(t, code, stderr)
	require.Contains(t, stderr, "- holds SQLite database tokenserver.db, examined")
	left, err := filepath.Glob(s.path(".backup-*"))
	require.NoError(t, err)
	require.Empty(t, left)
	r.stopped()
	s.edit(onSQLite, "sqlite: {path: restored.db}")
	said, stderr, code := s.command(stdout, "database", "restore", "-")
	require.Zero(t, code, stderr)
	require.Equal(t, "SQLite database restored.db holds the backup, examined; the encryption keys of tokenserver.yaml open all 6 keys in it\n", said)
	require.True(t, s.start().ready().has(id))
}

// What cannot be restored changes nothing: the server starts with what it had.
func TestABackupThatIsNotGoodIsNotRestored(t *testing.T) {
	s := newSite(t)
	r := s.start().ready()
	id := r.register("kept")
	backup, stderr, code := s.command("", "database", "backup", "-")
	require.Zero(t, code, stderr)
	_, stderr, code = s.command(backup, "database", "restore", "--replace", "-")
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "hint: stop the other tokenserver first")
	r.stopped()
	s.write("other-key", "CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=")
	s.write("good.db", backup)
	s.write("later.db", backup)
	later, err := sql.Open("sqlite", s.path("later.db"))
	require.NoError(t, err)
	_, err = later.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1); UPDATE installation SET oldest_schema = 9999`)
	require.NoError(t, errors.Join(err, later.Close()))
	for name, test := range map[string]struct {
		args       []string
		stdin      string
		prepare    func()
		want, hint string
	}{
		"a database is there":         {[]string{"good.db"}, "", nil, "writing tokenserver.db: file already exists", "--replace moves the database that is there"},
		"no file":                     {[]string{"--replace", "none.db"}, "", nil, "open none.db: no such file", ""},
		"nothing comes in":            {[]string{"--replace", "-"}, "", nil, "examining the backup: ", ""},
		"half of it comes in":         {[]string{"--replace", "-"}, backup[:len(backup)/2], nil, "examining the backup: ", ""},
		"another file":                {[]string{"--replace", "tokenserver.yaml"}, "", nil, "examining the backup: ", ""},
		"a later release's":           {[]string{"--replace", "later.db"}, "", nil, "the database belongs to a later release", ""},
		"an encryption key of others": {[]string{"--replace", "good.db"}, "", func() { s.edit("[encryption-key]", "[other-key]") }, "no encryption key fits", "put the key that this database was made with back"},
	} {
		t.Run(name, func(t *testing.T) {
			content, err := os.ReadFile(s.path("tokenserver.yaml"))
			require.NoError(t, err)
			defer s.write("tokenserver.yaml", string(content))
			if test.prepare != nil {
				test.prepare()
			}
			_, stderr, code := s.command(test.stdin, append([]string{"database", "restore"}, test.args...)...)
			require.Equal(t, exitFailed, code, stderr)
			require.Contains(t, stderr, test.want)
			require.Contains(t, stderr, test.hint)
		})
	}
	left, err := filepath.Glob(s.path("*.partial"))
	require.NoError(t, err)
	away, err := filepath.Glob(s.path("*.replaced-*"))
	require.NoError(t, err)
	require.Empty(t, append(left, away...))
	require.True(t, s.start().ready().has(id))
}

// TestARestoreThatWasKilledIsRunAgain, whatever it had done.
func TestARestoreThatWasKilledIsRunAgain(t *testing.T) {
	s := newSite(t)
	r := s.start().ready()
	before := r.register("before")
	s.shell(`tokenserver database backup backup.db`)
	after := r.register("after")
	require.NoError(t, r.cmd.Process.Kill())
	<-r.done

	// The file of the database is away, and its -wal is not yet.
	former := s.path("tokenserver.db.replaced-20261127T120000Z")
	require.NoError(t, os.Mkdir(former, 0o700))
	s.write("tokenserver.db.restoring", filepath.Base(former)+"\n")
	require.NoError(t, os.Rename(s.path("tokenserver.db"), filepath.Join(former, "tokenserver.db")))
	s.write(".tokenserver.db.123.partial", "half of it")
	require.FileExists(t, s.path("tokenserver.db-wal"))

	_, stderr, code := s.command("", "serve")
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "opening database tokenserver.db: restoring it was interrupted: the former database is in tokenserver.db.replaced-20261127T120000Z")
	require.Contains(t, stderr, "hint: run `tokenserver database restore` again with the backup")
	require.NoFileExists(t, s.path("tokenserver.db"), "no empty one is made")

	said, stderr, code := s.command("", "database", "restore", "backup.db")
	require.Zero(t, code, stderr)
	require.Contains(t, said, "the former database is in tokenserver.db.replaced-20261127T120000Z\n")
	left, err := filepath.Glob(s.path("*tokenserver.db*"))
	require.NoError(t, err)
	require.ElementsMatch(t, []string{s.path("tokenserver.db"), s.path("tokenserver.db.lock"), former}, left)
	r = s.start().ready()
	require.True(t, r.has(before))
	require.False(t, r.has(after))
	r.stopped()

	// The former one is whole.
	s.edit("path: tokenserver.db", "path: "+former+"/tokenserver.db")
	require.True(t, s.start().ready().has(after))
}

// TestARestoreThatNobodySendsABackupLeavesNothing, as in a Pod that is deleted before
// somebody attaches.
func TestARestoreThatNobodySendsABackupLeavesNothing(t *testing.T) {
	s := newSite(t)
	s.start().ready().stopped()
	was, err := filepath.Glob(s.path("*"))
	require.NoError(t, err)
	cmd := exec.Command(binary, "database", "restore", "--replace", "-")
	cmd.Dir = s.dir
	waits, err := cmd.StdinPipe()
	require.NoError(t, err)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	defer func() { _ = waits.Close() }()
	testenv.EventuallyWithin(t, time.Minute, func(c *require.Assertions) {
		partial, err := filepath.Glob(s.path(".tokenserver.db.*.partial"))
		c.NoError(err)
		c.Len(partial, 1, "it waits")
	})
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.Error(t, cmd.Wait())
	require.Equal(t, exitFailed, cmd.ProcessState.ExitCode(), out.String())
	require.Contains(t, out.String(), "restoring: reading the backup: ")
	is, err := filepath.Glob(s.path("*"))
	require.NoError(t, err)
	require.Equal(t, was, is)
	hidden, err := filepath.Glob(s.path(".*"))
	require.NoError(t, err)
	require.Empty(t, hidden)
	s.start().ready()
}

// TestALinkToTheDatabaseStaysOne: what it leads to is replaced, with the files that
// SQLite has beside that.
func TestALinkToTheDatabaseStaysOne(t *testing.T) {
	s := newSite(t)
	require.NoError(t, os.Mkdir(s.path("volume"), 0o700))
	require.NoError(t, os.Symlink("volume/real.db", s.path("tokenserver.db")))
	r := s.start().ready()
	before := r.register("before")
	s.shell(`tokenserver database backup backup.db`)
	after := r.register("after")
	_, stderr, code := s.command("", "database", "restore", "--replace", "backup.db")
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "hint: stop the other tokenserver first")
	require.NoError(t, r.cmd.Process.Kill())
	<-r.done

	said, stderr, code := s.command("", "database", "restore", "--replace", "backup.db")
	require.Zero(t, code, stderr)
	match := regexp.MustCompile(`the former database is in (\S*volume/real\.db\.replaced-\S+)\n`).FindStringSubmatch(said)
	require.NotNil(t, match, said)
	target, err := os.Readlink(s.path("tokenserver.db"))
	require.NoError(t, err)
	require.Equal(t, "volume/real.db", target)
	require.NoFileExists(t, s.path("volume/real.db-wal"))
	r = s.start().ready()
	require.True(t, r.has(before))
	require.False(t, r.has(after), "it is the backup, without what the former -wal holds")
	r.stopped()
	former := match[1]
	if !filepath.IsAbs(former) {
		former = s.path(former)
	}
	s.edit("path: tokenserver.db", "path: "+former+"/real.db")
	require.True(t, s.start().ready().has(after))
}

func TestABackupThatIsNotGoodDoesNotAppear(t *testing.T) {
	s := newSite(t)
	s.start().ready().stopped()
	s.write("other-key", "CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=")
	s.write("there.db", "mine")
	for name, test := range map[string]struct {
		prepare          func()
		file, want, hint string
	}{
		"a file that is there":        {nil, "there.db", "writing there.db: file already exists", "name another file: nothing is overwritten"},
		"a folder that is not there":  {nil, "none/b.db", "writing none/b.db: open ", ""},
		"an encryption key of others": {func() { s.edit("[encryption-key]", "[other-key]") }, "b.db", "no encryption key fits this database", "put the key that this database was made with back"},
		"a database that is not there": {
			func() { s.edit("path: tokenserver.db", "path: none.db") }, "b.db", "opening the database: stat none.db", "correct storage.sqlite.path in tokenserver.yaml",
		},
		"a damaged database": {func() { s.damage() }, "b.db", "database tokenserver.db: ", ""},
	} {
		t.Run(name, func(t *testing.T) {
			content, err := os.ReadFile(s.path("tokenserver.yaml"))
			require.NoError(t, err)
			whole, err := os.ReadFile(s.path("tokenserver.db"))
			require.NoError(t, err)
			defer func() { s.write("tokenserver.yaml", string(content)); s.write("tokenserver.db", string(whole)) }()
			if test.prepare != nil {
				test.prepare()
			}
			_, stderr, code := s.command("", "database", "backup", test.file)
			require.Equal(t, exitFailed, code, stderr)
			require.Contains(t, stderr, test.want)
			require.Contains(t, stderr, test.hint)
			require.NoFileExists(t, s.path("b.db"))
		})
	}
	kept, err := os.ReadFile(s.path("there.db"))
	require.NoError(t, err)
	require.Equal(t, "mine", string(kept))

	cmd := exec.CommandContext(t.Context(), "bash", "-c", `ulimit -f 16; exec "$0" database backup b.db`, binary)
	_, stderr, code := s.finish(cmd, "")
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "\nhint: free space on the file system")
	left, err := filepath.Glob(s.path("*b.db*"))
	require.NoError(t, err)
	require.Empty(t, left)

	server := postgresql.Shared(t)
	s.withPostgreSQL(server.Port, "any")
	_, stderr, code = s.command("", "database", "backup", "--config=postgresql.yaml", "b.db")
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "backing up: postgresql.yaml keeps its data in PostgreSQL\nhint: pg_dump backs it up")
}

// damage breaks an index of the database, which no server notices at its start.
func (s *site) damage() {
	s.t.Helper()
	db, err := sql.Open("sqlite", s.path("tokenserver.db"))
	require.NoError(s.t, err)
	var page, size int64
	require.NoError(s.t, db.QueryRowContext(s.t.Context(), `SELECT rootpage, (SELECT page_size FROM pragma_page_size()) FROM sqlite_schema WHERE name = 'apps'`).Scan(&page, &size))
	require.NoError(s.t, db.Close())
	content, err := os.ReadFile(s.path("tokenserver.db"))
	require.NoError(s.t, err)
	copy(content[(page-1)*size:page*size], bytes.Repeat([]byte{0xa5}, int(size)))
	s.write("tokenserver.db", string(content))
}

func TestTheDocumentedDumpOfPostgreSQLIsRestored(t *testing.T) {
	server := postgresql.Shared(t)
	database, _ := server.Database(t, "")
	s := newSite(t)
	s.withPostgreSQL(server.Port, database)
	s.write(".pgpass", fmt.Sprintf("127.0.0.1:*:*:%s:%s\n127.0.0.1:*:*:postgres:postgres\n", postgresql.User,
		strings.NewReplacer(`\`, `\\`, ":", `\:`).Replace(postgresql.Password)))
	restored := database + "_restored"
	t.Cleanup(func() { _ = server.Drop(context.WithoutCancel(t.Context()), restored) })
	here := strings.NewReplacer("db.example.com:5432", "127.0.0.1:"+fmt.Sprint(server.Port),
		"tokenserver_restored", restored, "/tokenserver'", "/"+database+"'")

	r := s.start("--config=postgresql.yaml").ready()
	before := r.register("before")
	_, token := r.token(canary)
	kids := r.keyIDs()
	s.shell(here.Replace(documented(t, "Back up PostgreSQL")))
	info, err := os.Stat(s.path("tokenserver.dump"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	after := r.register("after")
	r.stopped()

	s.shell(here.Replace(documented(t, "Restore PostgreSQL")))
	content, err := os.ReadFile(s.path("postgresql.yaml"))
	require.NoError(t, err)
	s.write("postgresql.yaml", strings.Replace(string(content), "/"+database, "/"+restored, 1))
	r = s.start("--config=postgresql.yaml").ready()
	require.True(t, r.has(before))
	require.False(t, r.has(after))
	require.Equal(t, kids, r.keyIDs())
	status, _ := r.manageWith(token, http.MethodGet, "", "")
	require.Equal(t, http.StatusOK, status)
	r.register("again")
}

func TestABackupFromBeforeARewrapNeedsTheFormerKey(t *testing.T) {
	s := newSite(t)
	r := s.start().ready()
	s.shell(`tokenserver database backup old.db`)
	r.stopped()
	s.write("second-key", "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=")
	s.edit("[encryption-key]", "[second-key, encryption-key]")
	s.shell(`tokenserver keys rewrap`)
	s.edit("[second-key, encryption-key]", "[second-key]")
	s.edit(onSQLite, "sqlite: {path: old.db}")
	_, stderr, code := s.command("", "serve")
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "no encryption key fits this database")
	require.Contains(t, stderr, "hint: put the key that this database was made with back")
	s.edit("[second-key]", "[second-key, encryption-key]")
	status, _ := s.start().ready().token(canary)
	require.Equal(t, http.StatusOK, status)
}
