// SPDX-License-Identifier: Apache-2.0

package postgresql_test

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	testserver "connectedapps.dev/operator/internal/testenv/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlstore"
	"connectedapps.dev/operator/internal/tokenserver/storage/storagetest"
)

// options are those of a URL with a password.
func options(t testing.TB, address string) postgresql.Options {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	password, _ := u.User.Password()
	u.User = url.User(u.User.Username())
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte(password+"\n"), 0o600))
	return postgresql.Options{URL: u.String(), PasswordFile: file}
}

// migrated is a template with the schema of this program.
func migrated(t testing.TB) string {
	t.Helper()
	return testserver.Shared(t).Template(t, "migrated", func(url string) error {
		s, err := postgresql.Open(t.Context(), options(t, url), storagetest.Epoch)
		if err != nil {
			return err
		}
		return s.Close()
	})
}

func openAt(t testing.TB, url string) *sqlstore.Store {
	t.Helper()
	s, err := postgresql.Open(t.Context(), options(t, url), storagetest.Epoch)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// temporary is a storage whose database goes when it is closed.
type temporary struct {
	storage.Storage
	drop func()
}

func (s *temporary) Close() error {
	err := s.Storage.Close()
	s.drop()
	return err
}

func open(t *testing.T) storage.Storage {
	name, drop := testserver.Shared(t).Database(t, migrated(t))
	return &temporary{openAt(t, testserver.Shared(t).URL(name)), drop}
}

func openThroughBouncer(t *testing.T) storage.Storage {
	name, drop := testserver.Shared(t).Database(t, migrated(t))
	return &temporary{openAt(t, testserver.SharedBouncer(t).URL(name)), drop}
}

func TestConformance(t *testing.T) { storagetest.Run(t, open) }

func TestConformanceThroughPgbouncer(t *testing.T) { storagetest.Run(t, openThroughBouncer) }
