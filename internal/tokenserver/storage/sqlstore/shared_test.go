// SPDX-License-Identifier: Apache-2.0

package sqlstore_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	testserver "connectedapps.dev/operator/internal/testenv/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlstore"
	"connectedapps.dev/operator/internal/tokenserver/storage/storagetest"
)

// crowd is callers who wait for a statement of PostgreSQL, because as many as may be
// under way wait for a lock.
type crowd struct {
	t       *testing.T
	url     string
	store   *sqlstore.Store
	other   *pgx.Conn
	app     string
	held    int
	calls   sync.WaitGroup
	results []error
	// statements are those of the table, of the held ones too.
	statements atomic.Int64
}

const inAnHour = time.Hour

func newCrowd(t *testing.T, url func(*testserver.Server, string) string) *crowd {
	t.Helper()
	server := testserver.Shared(t)
	database, _ := server.Database(t, "")
	c := &crowd{t: t, url: url(server, database), app: storagetest.App(1).ClientID}
	c.store = openPostgreSQL(t, c.url)
	c.store.Patient()
	_, err := c.store.CreateApp(t.Context(), storagetest.App(1))
	require.NoError(t, err)
	for n := range 20 {
		c.family(id(n))
	}
	c.other, err = server.Connect(t.Context(), database)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.other.Close(context.WithoutCancel(t.Context())) })
	return c
}

func directly(server *testserver.Server, database string) string { return server.URL(database) }

func openPostgreSQL(t *testing.T, address string) *sqlstore.Store {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	password, _ := u.User.Password()
	u.User = url.User(u.User.Username())
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte(password+"\n"), 0o600))
	s, err := postgresql.Open(t.Context(), postgresql.Options{URL: u.String(), PasswordFile: file}, storagetest.Epoch)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func id(n int) string { return fmt.Sprint("family-", n) }

// family is made with its code.
func (c *crowd) family(id string) {
	code := storage.AuthorizationCode{Hash: []byte("code of " + id), ClientID: c.app, ExpiresAt: storagetest.Epoch.Add(inAnHour)}
	require.NoError(c.t, c.store.CreateCode(c.t.Context(), code))
	_, err := c.store.RedeemCode(c.t.Context(), code.Hash, storagetest.Epoch, &storage.RefreshFamily{
		ID: id, Nonce: []byte{1}, Generation: 1, ClientID: c.app, CodeHash: code.Hash, ExpiresAt: storagetest.Epoch.Add(inAnHour),
	})
	require.NoError(c.t, err)
}

// rotate makes generation the current one.
func (c *crowd) rotate(ctx context.Context, n int, generation int64) func() error {
	return func() error {
		family, err := c.store.RotateFamily(ctx, id(n), c.app, generation-1, generation, storagetest.Epoch, storagetest.Epoch.Add(inAnHour))
		if err == nil && (family.ID != id(n) || family.Generation != generation) {
			err = fmt.Errorf("it is %s at %d", family.ID, family.Generation)
		}
		return err
	}
}

func (c *crowd) use(jti string, until time.Time) func() error {
	return func() error { return c.store.UseAssertion(c.t.Context(), c.app, jti, until) }
}

func (c *crowd) exec(statement string, args ...any) {
	c.t.Helper()
	_, err := c.other.Exec(c.t.Context(), statement, args...)
	require.NoError(c.t, err, statement)
}

// hold lets calls wait for a lock, so that those that come after them wait in turn.
func (c *crowd) hold(lock, operation string, calls ...func() error) {
	c.t.Helper()
	c.exec(`BEGIN`)
	c.exec(lock)
	c.store.Measure(func(what string, _ time.Duration, _ error) {
		if what == operation {
			c.statements.Add(1)
		}
	})
	for _, call := range calls {
		c.calls.Go(func() { assert.NoError(c.t, call()) })
		c.held++
		require.Eventually(c.t, c.allHeld, 10*time.Second, time.Millisecond)
	}
}

// allHeld tells whether as many wait for a lock.
func (c *crowd) allHeld() bool {
	// What others do is seen as it was when the transaction first looked.
	_, _ = c.other.Exec(c.t.Context(), `SELECT pg_stat_clear_snapshot()`)
	var waiting int
	err := c.other.QueryRow(c.t.Context(),
		`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting)
	return err == nil && waiting == c.held
}

// holdRotations holds those of the last families.
func (c *crowd) holdRotations() {
	var calls []func() error
	for n := range sqlstore.Writing {
		calls = append(calls, c.rotate(c.t.Context(), 19-n, 2))
	}
	c.hold(`SELECT FROM refresh_families WHERE id LIKE 'family-1_' FOR UPDATE`, "update refresh_families", calls...)
}

// join adds calls, in this order, that wait for those that are held.
func (c *crowd) join(calls ...func() error) {
	c.t.Helper()
	first := len(c.results)
	c.results = append(c.results, make([]error, len(calls))...)
	results := c.results
	for i, call := range calls {
		c.calls.Go(func() { results[first+i] = call() })
		require.Eventually(c.t, func() bool { return c.store.Sharing() == i+1 }, 10*time.Second, time.Millisecond)
	}
}

// goOn ends the lock and returns what those that joined came to.
func (c *crowd) goOn() []error {
	c.t.Helper()
	c.exec(`COMMIT`)
	c.calls.Wait()
	return c.results
}

// asked is how many statements there were beside those that were held.
func (c *crowd) asked() int { return int(c.statements.Load()) - c.held }

func TestCallersWhoWaitShareAStatement(t *testing.T) {
	for name, url := range map[string]func(*testserver.Server, string) string{
		"directly": directly,
		"as through a pooler": func(s *testserver.Server, database string) string {
			return s.URL(database) + "&default_query_exec_mode=cache_describe"
		},
		"without preparing": func(s *testserver.Server, database string) string {
			return s.URL(database) + "&default_query_exec_mode=exec"
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCrowd(t, url)
			c.holdRotations()
			var calls []func() error
			for n := range 10 {
				calls = append(calls, c.rotate(t.Context(), n, 2))
			}
			c.join(calls...)
			for _, err := range c.goOn() {
				require.NoError(t, err)
			}
			require.Equal(t, 1, c.asked())
		})
	}
}

func TestARotationThatIsRefusedIsRefusedAlone(t *testing.T) {
	c := newCrowd(t, directly)
	c.exec(`UPDATE refresh_families SET revoked_at = 1 WHERE id = 'family-3'`)
	c.exec(`UPDATE refresh_families SET expires_at = 1 WHERE id = 'family-4'`)
	c.exec(`UPDATE refresh_families SET epochs = 'nonsense' WHERE id = 'family-5'`)
	c.holdRotations()
	c.join(
		c.rotate(t.Context(), 1, 2),
		c.rotate(t.Context(), 1, 2), // the same token again
		c.rotate(t.Context(), 2, 7), // of another generation
		c.rotate(t.Context(), 3, 2), c.rotate(t.Context(), 4, 2), c.rotate(t.Context(), 99, 2),
		func() error {
			_, err := c.store.RotateFamily(t.Context(), id(2), "another client", 1, 2, storagetest.Epoch, storagetest.Epoch.Add(inAnHour))
			return err
		},
		c.rotate(t.Context(), 5, 2),
		c.rotate(t.Context(), 6, 2),
	)
	results := c.goOn()
	require.NoError(t, results[0])
	for n := range 6 {
		require.ErrorIs(t, results[1+n], storage.ErrNotFound, "%d", 1+n)
	}
	require.Error(t, results[7])
	require.NoError(t, results[8])
	family, err := c.store.Family(t.Context(), id(2))
	require.NoError(t, err)
	require.EqualValues(t, 1, family.Generation)
}

// TestALockedFamilyKeepsNobodyElseWaiting: another transaction changes a family, and
// takes its time.
func TestALockedFamilyKeepsNobodyElseWaiting(t *testing.T) {
	c := newCrowd(t, directly)
	locker, err := pgx.ConnectConfig(t.Context(), c.other.Config())
	require.NoError(t, err)
	defer func() { _ = locker.Close(context.WithoutCancel(t.Context())) }()
	_, err = locker.Exec(t.Context(), `BEGIN; UPDATE refresh_families SET revoked_at = 1 WHERE id = 'family-1'`)
	require.NoError(t, err)
	c.holdRotations()
	locked := make(chan error, 1)
	go func() { locked <- c.rotate(t.Context(), 1, 2)() }()
	require.Eventually(t, func() bool { return c.store.Sharing() == 1 }, 10*time.Second, time.Millisecond)
	results := make(chan error, 2)
	for n := range 2 {
		go func() { results <- c.rotate(t.Context(), 2+n, 2)() }()
	}
	require.Eventually(t, func() bool { return c.store.Sharing() == 3 }, 10*time.Second, time.Millisecond)
	c.exec(`COMMIT`)
	require.NoError(t, <-results)
	require.NoError(t, <-results)
	_, err = locker.Exec(t.Context(), `COMMIT`)
	require.NoError(t, err)
	require.ErrorIs(t, <-locked, storage.ErrNotFound)
	c.calls.Wait()
	require.Equal(t, 2, c.asked(), "one for all, and one for the family that was locked")
}

func TestNobodyWaitsForLongBehindStatementsThatHang(t *testing.T) {
	c := newCrowd(t, directly)
	c.store = openPostgreSQL(t, c.url) // with the patience of every store
	c.holdRotations()
	for n := range 3 {
		require.NoError(t, c.rotate(t.Context(), n, 2)())
	}
	c.goOn()
}

func TestACallerWhoGivesUpTakesNobodysAnswerAway(t *testing.T) {
	c := newCrowd(t, directly)
	c.holdRotations()
	ctx, giveUp := context.WithCancel(t.Context())
	c.join(c.rotate(ctx, 1, 2), c.rotate(t.Context(), 2, 2), c.rotate(t.Context(), 3, 2))
	giveUp()
	require.Eventually(t, func() bool { return c.store.Sharing() == 2 }, 10*time.Second, time.Millisecond)
	results := c.goOn()
	require.ErrorIs(t, results[0], context.Canceled)
	require.NotErrorIs(t, results[0], storage.ErrUnavailable)
	require.NoError(t, results[1])
	require.NoError(t, results[2])
	family, err := c.store.Family(t.Context(), id(1))
	require.NoError(t, err)
	require.EqualValues(t, 1, family.Generation, "nothing was done for who had gone")
}

func TestAnAssertionThatIsReplayedIsRefusedAlone(t *testing.T) {
	c := newCrowd(t, directly)
	until := storagetest.Epoch.Add(inAnHour)
	require.NoError(t, c.use("before", until)())
	var held []func() error
	for n := range sqlstore.Writing {
		held = append(held, c.use(fmt.Sprint("held ", n), until))
	}
	c.hold(`LOCK TABLE used_assertions IN ACCESS EXCLUSIVE MODE`, "insert used_assertions", held...)
	c.join(
		c.use("new", until),
		c.use("new", until.Add(time.Second)),
		c.use("before", until.Add(time.Second)),
		c.use("before", until),
		c.use("another", until),
	)
	results := c.goOn()
	for i, want := range []error{nil, storage.ErrAlreadyExists, storage.ErrAlreadyExists, nil, nil} {
		require.ErrorIs(t, results[i], want, "%d", i)
	}
}

// TestAnAssertionThatIsBeingNotedElsewhereKeepsNobodyElseWaiting: another replica has
// noted the same and takes its time to commit.
func TestAnAssertionThatIsBeingNotedElsewhereKeepsNobodyElseWaiting(t *testing.T) {
	c := newCrowd(t, directly)
	until := storagetest.Epoch.Add(inAnHour)
	elsewhere, err := pgx.ConnectConfig(t.Context(), c.other.Config())
	require.NoError(t, err)
	defer func() { _ = elsewhere.Close(context.WithoutCancel(t.Context())) }()
	_, err = elsewhere.Exec(t.Context(), fmt.Sprintf(`BEGIN; INSERT INTO used_assertions VALUES ('%s', 'noted elsewhere', 1)`, c.app))
	require.NoError(t, err)
	var held []func() error
	for n := range sqlstore.Writing {
		held = append(held, c.use(fmt.Sprint("held ", n), until))
	}
	c.hold(fmt.Sprintf(`INSERT INTO used_assertions SELECT '%s', 'held ' || n, %d FROM generate_series(0, %d) AS n`,
		c.app, until.UnixMicro(), sqlstore.Writing-1), "insert used_assertions", held...)
	noted := make(chan error, 1)
	go func() { noted <- c.use("noted elsewhere", until)() }()
	require.Eventually(t, func() bool { return c.store.Sharing() == 1 }, 10*time.Second, time.Millisecond)
	results := make(chan error, 2)
	for n := range 2 {
		go func() { results <- c.use(fmt.Sprint("new ", n), until)() }()
	}
	require.Eventually(t, func() bool { return c.store.Sharing() == 3 }, 10*time.Second, time.Millisecond)
	c.exec(`COMMIT`)
	require.NoError(t, <-results)
	require.NoError(t, <-results)
	_, err = elsewhere.Exec(t.Context(), `COMMIT`)
	require.NoError(t, err)
	require.ErrorIs(t, <-noted, storage.ErrAlreadyExists)
	c.calls.Wait()
}

// TestAStatementThatTheServerGivesUpIsDoneForEachAlone: a fault that ends a statement
// which is shared leaves everybody their own.
func TestAStatementThatTheServerGivesUpIsDoneForEachAlone(t *testing.T) {
	c := newCrowd(t, directly)
	c.exec(`CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF NEW.id = 'family-2' THEN RAISE EXCEPTION 'no' USING ERRCODE = '57014'; END IF; RETURN NEW; END $$`)
	c.exec(`CREATE TRIGGER fail BEFORE UPDATE ON refresh_families FOR EACH ROW EXECUTE FUNCTION fail()`)
	c.holdRotations()
	c.join(c.rotate(t.Context(), 1, 2), c.rotate(t.Context(), 2, 2), c.rotate(t.Context(), 3, 2))
	results := c.goOn()
	require.NoError(t, results[0])
	require.ErrorIs(t, results[1], storage.ErrUnavailable)
	require.ErrorContains(t, results[1], "57014")
	require.NoError(t, results[2])
}

// TestAConnectionThatIsLostWithASharedStatement: nobody knows whether it was kept, and
// none is told that it was, nor is it done again.
func TestAConnectionThatIsLostWithASharedStatement(t *testing.T) {
	c := newCrowd(t, directly)
	c.exec(`CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF NEW.id = 'family-2' THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN NEW; END $$`)
	c.exec(`CREATE TRIGGER lose BEFORE UPDATE ON refresh_families FOR EACH ROW EXECUTE FUNCTION lose()`)
	c.holdRotations()
	c.join(c.rotate(t.Context(), 1, 2), c.rotate(t.Context(), 2, 2), c.rotate(t.Context(), 3, 2))
	for _, err := range c.goOn() {
		require.ErrorIs(t, err, storage.ErrUnavailable)
		require.NotErrorIs(t, err, storage.ErrNotFound)
	}
	require.Equal(t, 1, c.asked())
	c.exec(`DROP TRIGGER lose ON refresh_families`)
	for n := range 3 {
		require.NoError(t, c.rotate(t.Context(), 1+n, 2)(), "the next try")
	}
}

func TestALookupIsSharedToo(t *testing.T) {
	c := newCrowd(t, directly)
	var users []storage.User
	for n := range 5 {
		user, err := c.store.PutUser(t.Context(), storage.User{ID: fmt.Sprint("user-", n), OrgID: "org", IDProviderID: "idp", Username: fmt.Sprint("name-", n)}, storagetest.Epoch)
		require.NoError(t, err)
		users = append(users, user)
	}
	find := func(n int) func() error {
		return func() error {
			user, err := c.store.User(t.Context(), fmt.Sprint("user-", n))
			if err == nil && !user.Same(users[n]) {
				err = fmt.Errorf("it is %s", user.ID)
			}
			return err
		}
	}
	c.exec(`UPDATE users SET document = 'nonsense' WHERE id = 'user-4'`)
	var held []func() error
	for range sqlstore.Reading {
		held = append(held, find(0))
	}
	c.hold(`LOCK TABLE users IN ACCESS EXCLUSIVE MODE`, "select users", held...)
	c.join(find(1), find(2), find(99), find(2), find(4), find(3))
	results := c.goOn()
	for i, err := range results {
		switch i {
		case 2:
			require.ErrorIs(t, err, storage.ErrNotFound)
		case 4:
			require.Error(t, err)
			require.NotErrorIs(t, err, storage.ErrNotFound)
		default:
			require.NoError(t, err, "%d", i)
		}
	}
	require.Equal(t, 3, c.asked(), "one for all, and one for each that has no such row")
}
