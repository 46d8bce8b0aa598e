// SPDX-License-Identifier: Apache-2.0

package storagetest

import (
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

func appSecrets(t *testing.T, s storage.Storage) {
	app := create(t, s, App(1))
	old, current := app.Secrets[0], app.Secrets[1]

	require.NoError(t, s.TouchSecrets(t.Context(), map[string]time.Time{
		old.ID: old.LastUsedAt.Add(-time.Second), current.ID: Epoch.Add(time.Hour), "unknown": Epoch,
	}))
	touched, err := s.App(t.Context(), app.ClientID)
	require.NoError(t, err)
	require.Equal(t, app.Revision, touched.Revision)
	require.Equal(t, old.LastUsedAt, touched.Secrets[0].LastUsedAt, "last use never moves back")
	require.Equal(t, Epoch.Add(time.Hour), touched.Secrets[1].LastUsedAt)

	// One is replaced while another request uses it: the use is not lost.
	fresh := storage.Secret{ID: "fresh", Hash: []byte{9}, CreatedAt: Epoch.Add(time.Minute)}
	_, err = s.UpdateApp(t.Context(), app.ClientID, Epoch.Add(time.Hour), func(a *storage.App) error {
		a.Secrets[1].ExpiresAt = Epoch.Add(2 * time.Hour)
		a.Secrets[1].LastUsedAt = time.Time{}
		a.Secrets = append(a.Secrets[1:], fresh)
		return nil
	})
	require.NoError(t, err)
	got, err := s.App(t.Context(), app.ClientID)
	require.NoError(t, err)
	require.Len(t, got.Secrets, 2)
	require.Equal(t, current.ID, got.Secrets[0].ID)
	require.Equal(t, Epoch.Add(time.Hour), got.Secrets[0].LastUsedAt)
	require.Equal(t, fresh, got.Secrets[1])
	require.True(t, got.Secrets[0].Live(Epoch.Add(2*time.Hour-time.Second)))
	require.False(t, got.Secrets[0].Live(Epoch.Add(2*time.Hour)))
}

func manyTouchedSecrets(t *testing.T, s storage.Storage) {
	const apps = 3
	used := map[string]time.Time{"unknown \u2603 \"": Epoch}
	for n := range apps {
		app := App(n + 1)
		app.Secrets = nil
		for i := range 500 {
			id := fmt.Sprintf("%d %d", n, i)
			app.Secrets = append(app.Secrets, storage.Secret{ID: id, Hash: []byte(id), CreatedAt: Epoch})
			used[id] = Epoch.Add(time.Duration(n*1000+i) * time.Second)
		}
		create(t, s, app)
	}
	statements := 0
	s.Measure(func(operation string, _ time.Duration, _ error) {
		if operation == "update app_secrets" {
			statements++
		}
	})
	require.NoError(t, s.TouchSecrets(t.Context(), used))
	require.Equal(t, 2, statements, "a thousand each")
	for n := range apps {
		app, err := s.App(t.Context(), App(n+1).ClientID)
		require.NoError(t, err)
		for _, secret := range app.Secrets {
			require.Equal(t, used[secret.ID], secret.LastUsedAt, secret.ID)
		}
	}
	statements = 0
	require.NoError(t, s.TouchSecrets(t.Context(), nil))
	require.Zero(t, statements)
}

func dataKeys(t *testing.T, s storage.Storage) {
	keys := []storage.DataKey{
		{Purpose: storage.PurposeRefresh, Wrapped: []byte{1}, WrappedBy: "a", CreatedAt: Epoch},
		{Purpose: storage.PurposeSealing, Wrapped: []byte{2}, WrappedBy: "a", CreatedAt: Epoch},
	}
	require.NoError(t, s.CreateDataKeys(t.Context(), keys))
	require.ErrorIs(t, s.CreateDataKeys(t.Context(), keys), storage.ErrAlreadyExists)
	signing := storage.SigningKey{ID: "kid", Algorithm: "ES256", Public: []byte{1}, Wrapped: []byte{3}, WrappedBy: "a", CreatedAt: Epoch}
	_, err := s.UpdateSigningKeys(t.Context(), func([]storage.SigningKey) ([]storage.SigningKey, error) {
		return []storage.SigningKey{signing}, nil
	})
	require.NoError(t, err)

	names := []string{}
	require.NoError(t, s.RewrapKeys(t.Context(), func(name string, wrapped []byte, by string) ([]byte, string, error) {
		names = append(names, name)
		return append(wrapped, 0), by + "b", nil
	}))
	require.ElementsMatch(t, []string{string(storage.PurposeRefresh), string(storage.PurposeSealing), "kid"}, names)
	got, err := s.DataKeys(t.Context())
	require.NoError(t, err)
	require.Len(t, got, 2)
	require.Equal(t, "ab", got[0].WrappedBy)
	rewrapped, err := s.SigningKeys(t.Context())
	require.NoError(t, err)
	require.Equal(t, []byte{3, 0}, rewrapped.Keys[0].Wrapped)
}

func signingKeys(t *testing.T, s storage.Storage) {
	parallel(8, func(int) {
		_, err := s.UpdateSigningKeys(t.Context(), func(keys []storage.SigningKey) ([]storage.SigningKey, error) {
			if len(keys) > 0 {
				return keys, nil
			}
			return append(keys, storage.SigningKey{
				ID: "first", Algorithm: "RS256", Public: []byte{1}, Wrapped: []byte{2}, WrappedBy: "k",
				CreatedAt: Epoch, ActiveAt: Epoch.Add(time.Hour), RetiredAt: Epoch.Add(2 * time.Hour), ExpiresAt: Epoch.Add(3 * time.Hour),
			}), nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	keys, err := s.SigningKeys(t.Context())
	require.NoError(t, err)
	require.Len(t, keys.Keys, 1)
	require.Equal(t, Epoch.Add(3*time.Hour), keys.Keys[0].ExpiresAt)
	require.EqualValues(t, 8, keys.Version, "each change has a version of its own")
}

func opaqueTokens(t *testing.T, s storage.Storage) {
	app := create(t, s, App(1))
	want := storage.OpaqueToken{Hash: []byte{1, 2}, ClientID: app.ClientID, Document: "{}", ExpiresAt: Epoch.Add(time.Hour)}
	require.NoError(t, s.CreateOpaqueToken(t.Context(), want))
	require.ErrorIs(t, s.CreateOpaqueToken(t.Context(), want), storage.ErrAlreadyExists)
	got, err := s.OpaqueToken(t.Context(), want.Hash)
	require.NoError(t, err)
	require.Equal(t, want, got)
	remove(t, s, app.ClientID)
	_, err = s.OpaqueToken(t.Context(), want.Hash)
	require.ErrorIs(t, err, storage.ErrNotFound)
}

func usedAssertions(t *testing.T, s storage.Storage) {
	const users = 10
	errs := make([]error, users)
	parallel(users, func(i int) {
		errs[i] = s.UseAssertion(t.Context(), "app", "jti", Epoch.Add(time.Hour+time.Duration(i)*time.Microsecond))
	})
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		require.ErrorIs(t, err, storage.ErrAlreadyExists)
	}
	require.Equal(t, 1, won)
	for clientID, want := range map[string]bool{"app": true, "another app": false} {
		used, err := s.AssertionUsed(t.Context(), clientID, "jti")
		require.NoError(t, err)
		require.Equal(t, want, used, clientID)
	}
	require.NoError(t, s.UseAssertion(t.Context(), "another app", "jti", Epoch.Add(time.Hour)))
	require.NoError(t, s.UseAssertion(t.Context(), "another app", "jti", Epoch.Add(time.Hour)), "the very same call may be repeated")
	_, err := s.CollectGarbage(t.Context(), Epoch.Add(2*time.Hour), 100)
	require.NoError(t, err)
	require.NoError(t, s.UseAssertion(t.Context(), "app", "jti", Epoch.Add(3*time.Hour)), "an expired one is forgotten")

	long := hex.EncodeToString(random(8 << 10))
	require.NoError(t, s.UseAssertion(t.Context(), "app", long, Epoch.Add(time.Hour)))
	require.ErrorIs(t, s.UseAssertion(t.Context(), "app", long, Epoch.Add(2*time.Hour)), storage.ErrAlreadyExists)
	used, err := s.AssertionUsed(t.Context(), "app", long)
	require.NoError(t, err)
	require.True(t, used)
	require.NoError(t, s.UseAssertion(t.Context(), "app", long+"0", Epoch.Add(time.Hour)))
}

func installation(t *testing.T, s storage.Storage) {
	first, err := s.InstallationID(t.Context())
	require.NoError(t, err)
	require.Len(t, first, 36)
	second, err := s.InstallationID(t.Context())
	require.NoError(t, err)
	require.Equal(t, first, second)
	require.NoError(t, s.Ping(t.Context()))
}

func garbage(t *testing.T, s storage.Storage) {
	app := create(t, s, App(1))
	retired := app.Secrets[0].ExpiresAt
	_, err := s.CollectGarbage(t.Context(), retired.Add(90*24*time.Hour-time.Second), 100)
	require.NoError(t, err)
	got, err := s.App(t.Context(), app.ClientID)
	require.NoError(t, err)
	require.Len(t, got.Secrets, 2, "a retired secret is recognised for 90 days")

	gone, err := s.CollectGarbage(t.Context(), retired.Add(90*24*time.Hour+time.Second), 100)
	require.NoError(t, err)
	require.Equal(t, 1, gone["app_secrets"])
	got, err = s.App(t.Context(), app.ClientID)
	require.NoError(t, err)
	require.Len(t, got.Secrets, 1)
	require.Equal(t, app.Secrets[1], got.Secrets[0], "a secret without an end stays")

	late := code(1)
	late.ExpiresAt = Epoch.Add(time.Minute)
	require.NoError(t, s.CreateCode(t.Context(), late))
	_, err = s.CollectGarbage(t.Context(), late.ExpiresAt.Add(time.Hour), 100)
	require.NoError(t, err)
	_, err = s.Code(t.Context(), late.Hash)
	require.NoError(t, err, "a code is known for an hour after its end")
	_, err = s.CollectGarbage(t.Context(), late.ExpiresAt.Add(time.Hour+time.Second), 100)
	require.NoError(t, err)
	_, err = s.Code(t.Context(), late.Hash)
	require.ErrorIs(t, err, storage.ErrNotFound)
}
