// SPDX-License-Identifier: Apache-2.0

package tokenservertest

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	testserver "connectedapps.dev/operator/internal/testenv/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
)

// EnvDatabase is the environment variable that, with the value postgresql, gives
// every instance a database of the test binary's PostgreSQL server in place of a
// file.
const EnvDatabase = "TOKENSERVER_TEST_DATABASE"

// databaseFile holds the URL of an instance's PostgreSQL database, in its folder.
const databaseFile = "postgresql-url"

// OnPostgreSQL puts the instances of a folder on a database: its URL, with the
// password.
func OnPostgreSQL(t testing.TB, folder, address string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(folder, databaseFile), []byte(address), 0o600))
}

// OpenStorage opens the database of a folder, and makes it when there is none.
func OpenStorage(t testing.TB, folder string) storage.Storage {
	t.Helper()
	if _, err := os.Stat(filepath.Join(folder, databaseFile)); err != nil && os.Getenv(EnvDatabase) == "postgresql" {
		server := testserver.Shared(t)
		name, _ := server.Database(t, Template(t))
		OnPostgreSQL(t, folder, server.URL(name))
	}
	address, err := os.ReadFile(filepath.Join(folder, databaseFile))
	if err != nil {
		store, err := sqlite.Open(t.Context(), filepath.Join(folder, "tokenserver.db"), time.Now())
		require.NoError(t, err)
		return store
	}
	store, err := openPostgreSQL(t, folder, string(address))
	require.NoError(t, err)
	return store
}

// Template is a database of the test binary's PostgreSQL server with the schema.
func Template(t testing.TB) string {
	return testserver.Shared(t).Template(t, "schema", func(address string) error {
		store, err := openPostgreSQL(t, t.TempDir(), address)
		if err != nil {
			return err
		}
		return store.Close()
	})
}

func openPostgreSQL(t testing.TB, folder, address string) (storage.Storage, error) {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	password, _ := u.User.Password()
	u.User = url.User(u.User.Username())
	file := filepath.Join(folder, "database-password")
	require.NoError(t, os.WriteFile(file, []byte(password+"\n"), 0o600))
	return postgresql.Open(t.Context(), postgresql.Options{URL: u.String(), PasswordFile: file}, time.Now())
}
