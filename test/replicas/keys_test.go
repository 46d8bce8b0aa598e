// SPDX-License-Identifier: Apache-2.0

package replicas

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
)

// keyIDs are those that a replica publishes.
func (s site) keyIDs() []string {
	s.t.Helper()
	var set struct{ Keys []struct{ Kid string } }
	s.send(http.MethodGet, oauth.PathJWKS, "", "", "").into(s.t, &set)
	var ids []string
	for _, key := range set.Keys {
		ids = append(ids, key.Kid)
	}
	return ids
}

// keyOf is the key that signed a JWT.
func keyOf(t testing.TB, raw string) string {
	t.Helper()
	token, _, err := jwt.NewParser().ParseUnverified(raw, jwt.MapClaims{})
	require.NoError(t, err)
	return fmt.Sprint(token.Header["kid"])
}

// sql returns the first column of the only row.
func (i *installation) sql(query string) (value string) {
	i.t.Helper()
	conn, err := i.database.Connect(i.t.Context(), i.name)
	require.NoError(i.t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(i.t.Context())) }()
	require.NoError(i.t, conn.QueryRow(i.t.Context(), query).Scan(&value))
	return value
}

// TestThreeReplicasThatStartAtOnceBootstrapOnce starts them on an empty database.
func TestThreeReplicasThatStartAtOnceBootstrapOnce(t *testing.T) {
	i := start(t)
	ids := i.a().keyIDs()
	require.Len(t, ids, 2, "one key for each algorithm")
	i.everywhere(func(r *require.Assertions, at site) { r.Equal(ids, at.keyIDs()) })
	require.Equal(t, "1", i.sql(`SELECT count(*)::text FROM apps`))
	for n, r := range i.replicas {
		issued := r.at().tokens(r.at().credentials(i.admin())).AccessToken
		require.True(t, i.replicas[(n+1)%3].at().active(i.admin(), issued))
	}
	for _, r := range i.replicas {
		require.Nil(t, r.logged("background work"), "%s", r.process.Output())
	}
}

// TestKeysAreRotatedAndRewrappedUnderWay changes the keys of a running installation:
// every token is accepted everywhere all the time.
func TestKeysAreRotatedAndRewrappedUnderWay(t *testing.T) {
	i := start(t)
	app := i.a().register(i, machineApp)
	i.everywhere(func(r *require.Assertions, at site) { r.Equal(http.StatusOK, at.credentials(app).status) })
	first := i.a().keyIDs()
	var issued []string
	accepted := func() {
		t.Helper()
		for _, r := range i.replicas {
			issued = append(issued, r.at().tokens(r.at().credentials(app)).AccessToken)
		}
		for _, r := range i.replicas {
			for _, token := range issued {
				require.True(t, r.at().active(app, token), "%s refuses a token of the key %s", r.name, keyOf(t, token))
			}
		}
	}
	accepted()

	said, err := i.command("keys", "rotate")
	require.NoError(t, err, said)
	took := i.everywhere(func(r *require.Assertions, at site) { r.Len(at.keyIDs(), 4) })
	t.Logf("new keys are published everywhere after %s", took)
	accepted()
	for _, token := range issued {
		require.Contains(t, first, keyOf(t, token), "a key is published for an hour before it signs")
	}

	i.write("encryption-key-2", encryptionKey(9))
	for _, r := range i.replicas {
		r.configure("[encryption-key]", "[encryption-key-2, encryption-key]")
	}
	said, err = i.command("keys", "rewrap")
	require.NoError(t, err, said)
	accepted()
	for _, r := range i.replicas {
		r.configure("[encryption-key-2, encryption-key]", "[encryption-key-2]")
		r.stop()
		r.start()
		accepted()
	}

	said, err = i.command("keys", "rotate", "--now")
	require.NoError(t, err, said)
	// Until the feed brings the key, who is asked for a token of it asks the database.
	accepted()
	i.everywhere(func(r *require.Assertions, at site) {
		key := keyOf(t, at.tokens(at.credentials(app)).AccessToken)
		r.NotContains(first, key)
		r.Contains(said, key)
	})
	accepted()

	said, err = i.command("keys", "rotate", "--revoke")
	require.NoError(t, err, said)
	i.everywhere(func(r *require.Assertions, at site) {
		r.Len(at.keyIDs(), 2)
		r.False(slices.ContainsFunc(issued, func(token string) bool { return at.active(app, token) }))
	})
	issued = nil
	accepted()
}

// TestKeysOfADatabaseThatNoServerHasUsedAreNotMade tells whoever has the wrong
// database, or is too early.
func TestKeysOfADatabaseThatNoServerHasUsedAreNotMade(t *testing.T) {
	i := prepare(t)
	for _, command := range []string{"rotate", "rewrap"} {
		said, err := i.command("keys", command)
		require.Error(t, err)
		require.Contains(t, said, "tokenserver: opening the keys of the database: the database holds no keys: no server has run on it yet\n"+
			"hint: tokenserver serve makes them at its first start; correct storage if the database is another one")
		require.Equal(t, "00", i.sql(`SELECT (SELECT count(*) FROM data_keys)::text || (SELECT count(*) FROM signing_keys)::text`))
	}
	i.startAll()
	said, err := i.command("keys", "rotate")
	require.NoError(t, err, said)
	require.Equal(t, 4, strings.Count(said, "\n"), said)
}
