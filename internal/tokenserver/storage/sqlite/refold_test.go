// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
	"connectedapps.dev/operator/internal/tokenserver/storage/storagetest"
)

// TestNamesOfAFormerDatabaseAreFoldedAnew takes a database back to before the
// migration, with names as the former rule stored them.
func TestNamesOfAFormerDatabaseAreFoldedAnew(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	former, err := sqlite.Open(t.Context(), path, storagetest.Epoch)
	require.NoError(t, err)
	put := func(s storage.Users, id, name string, after time.Duration) storage.User {
		user, err := s.PutUser(t.Context(), storage.User{ID: id, OrgID: "org", IDProviderID: "idp", Username: name}, storagetest.Epoch.Add(after))
		require.NoError(t, err)
		return user
	}
	put(former, "composed", "a", time.Second)
	put(former, "decomposed", "b", 0)
	put(former, "dotless", "c", 0)
	put(former, "snowman", "d", 0)
	require.NoError(t, former.Close())
	takeBack(t, path, map[string][2]string{ // id: name as asserted, name as stored
		"composed": {"No\u00ebl", "no\u00ebl"}, "decomposed": {"Noe\u0308l", "noe\u0308l"},
		"dotless": {"\u0131lker", "ilker"}, "snowman": {"\u2603", "\u2603"},
	})

	s, err := sqlite.Open(t.Context(), path, storagetest.Epoch)
	require.NoError(t, err)
	defer func() { _ = s.Close() }()
	require.Equal(t, "decomposed", put(s, "new-1", "NO\u00cbL", time.Hour).ID, "of two that are one now, the older")
	require.Equal(t, "dotless", put(s, "new-2", "\u0131lker", time.Hour).ID)
	require.Equal(t, "new-3", put(s, "new-3", "ilker", time.Hour).ID, "is not the one without the dot any more")
	_, total, err := s.Users(t.Context(), storage.UserQuery{OrgID: "org"})
	require.NoError(t, err)
	require.Equal(t, 5, total, "all are kept")
	younger, err := s.User(t.Context(), "composed")
	require.NoError(t, err)
	require.Equal(t, "No\u00ebl", younger.Username)
}

func takeBack(t *testing.T, path string, names map[string][2]string) {
	t.Helper()
	files, err := filepath.Glob("../sqlstore/schema/*_user_names.sql")
	require.NoError(t, err)
	require.Len(t, files, 1)
	number, _, _ := strings.Cut(filepath.Base(files[0]), "_")
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	for id, name := range names {
		_, err := db.ExecContext(t.Context(), `UPDATE users SET name = ?, document = json_set(document, '$.Username', ?) WHERE id = ?`, name[1], name[0], id)
		require.NoError(t, err)
	}
	_, err = db.ExecContext(t.Context(), fmt.Sprintf(`DROP INDEX users_listing; DELETE FROM goose_db_version WHERE version_id = %s`, strings.TrimLeft(number, "0")))
	require.NoError(t, err)
}
