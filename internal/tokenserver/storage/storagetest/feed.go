// SPDX-License-Identifier: Apache-2.0

package storagetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

func feedOfApps(t *testing.T, s storage.Storage) {
	create(t, s, App(1))
	s.Clock(func() time.Time { return Epoch.Add(time.Minute) })
	_, err := s.UpdateApp(t.Context(), App(1).ClientID, Epoch, func(a *storage.App) error { a.Enabled = false; return nil })
	require.NoError(t, err)
	s.Clock(func() time.Time { return Epoch.Add(2 * time.Minute) })
	_, err = s.DeleteApp(t.Context(), App(1).ClientID, Epoch)
	require.NoError(t, err)

	all, err := s.Changes(t.Context(), time.Time{})
	require.NoError(t, err)
	require.Len(t, all, 5)
	for i, change := range all {
		if ends := i == 2 || i == 4; ends {
			require.Equal(t, storage.ChangeEpoch, change.Kind, "after the app: at the new epoch nothing is issued to what still looks enabled")
			require.Equal(t, "app "+App(1).ClientID, change.Key)
		} else {
			require.Equal(t, storage.ChangeApp, change.Kind)
			require.Equal(t, App(1).ClientID, change.Key)
		}
		if i > 0 {
			require.Greater(t, change.ID, all[i-1].ID)
		}
	}
	late, err := s.Changes(t.Context(), Epoch.Add(time.Minute))
	require.NoError(t, err)
	require.Equal(t, all[1:], late, "an entry at the given time is included")
}

// followed are the writes that replicas follow, each of them as a caller whose
// request began at now; before makes what it needs. Every other write changes
// nothing that a replica has in memory.
var followed = map[string]struct {
	before, do func(ctx context.Context, s storage.Storage, now time.Time) error
	entries    int
}{
	"CreateApp": {nil, newApp, 1},
	"CreateApp of one that was deleted": {func(ctx context.Context, s storage.Storage, now time.Time) error {
		if err := newApp(ctx, s, now); err != nil {
			return err
		}
		_, err := s.DeleteApp(ctx, App(1).ClientID, now)
		return err
	}, newApp, 2},
	"UpdateApp": {newApp, func(ctx context.Context, s storage.Storage, now time.Time) error {
		_, err := s.UpdateApp(ctx, App(1).ClientID, now, func(a *storage.App) error { a.Name = "other"; return nil })
		return err
	}, 1},
	"UpdateApp that switches off": {newApp, func(ctx context.Context, s storage.Storage, now time.Time) error {
		_, err := s.UpdateApp(ctx, App(1).ClientID, now, func(a *storage.App) error { a.Enabled = false; return nil })
		return err
	}, 2},
	"DeleteApp": {newApp, func(ctx context.Context, s storage.Storage, now time.Time) error {
		_, err := s.DeleteApp(ctx, App(1).ClientID, now)
		return err
	}, 2},
	"UpdateSigningKeys": {nil, func(ctx context.Context, s storage.Storage, _ time.Time) error {
		_, err := s.UpdateSigningKeys(ctx, func(keys []storage.SigningKey) ([]storage.SigningKey, error) { return keys, nil })
		return err
	}, 1},
	"RaiseEpoch": {nil, func(ctx context.Context, s storage.Storage, now time.Time) error {
		_, err := s.RaiseEpoch(ctx, storage.EpochUser, "user-1", now)
		return err
	}, 1},
	"Observe": {func(ctx context.Context, s storage.Storage, now time.Time) error {
		_, err := s.Observe(ctx, []storage.Configured{
			{Kind: storage.EpochUser, Key: "u", State: "present"}, {Kind: storage.EpochProvider, Key: storage.ProviderKey(orgA, "idp"), State: "present"},
		}, now)
		return err
	}, func(ctx context.Context, s storage.Storage, now time.Time) error {
		_, err := s.Observe(ctx, nil, now)
		return err
	}, 2},
	"EndToken": {nil, func(ctx context.Context, s storage.Storage, now time.Time) error {
		return s.EndToken(ctx, storage.EndedToken{Kind: storage.EndedAccessToken, Key: "jti", ExpiresAt: now})
	}, 1},
	"RevokeFamily": {nil, func(ctx context.Context, s storage.Storage, now time.Time) error {
		return s.RevokeFamily(ctx, "family", now, now)
	}, 1},
	"RevokeConsent": {nil, func(ctx context.Context, s storage.Storage, now time.Time) error {
		_, err := s.RevokeConsent(ctx, "user-1", App(1).ClientID, now)
		return err
	}, 1},
	"SetUserDisabled": {func(ctx context.Context, s storage.Storage, now time.Time) error {
		_, err := s.PutUser(ctx, storage.User{ID: "u", OrgID: orgA, IDProviderID: "idp", Username: "u"}, now)
		return err
	}, func(ctx context.Context, s storage.Storage, now time.Time) error {
		_, err := s.SetUserDisabled(ctx, "u", true, now)
		return err
	}, 1},
}

func newApp(ctx context.Context, s storage.Storage, now time.Time) error {
	app := App(1)
	app.CreatedAt, app.UpdatedAt = now, now
	_, err := s.CreateApp(ctx, app)
	return err
}

// feedTimes calls every write as a request does whose body took two minutes: a
// replica has read the feed meanwhile, and looks no further back than its overlap.
func feedTimes(t *testing.T, open func(t *testing.T) storage.Storage) {
	for name, write := range followed {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			s.Clock(func() time.Time { return Epoch.Add(-time.Hour) })
			if write.before != nil {
				require.NoError(t, write.before(t.Context(), s, Epoch.Add(-time.Hour)))
			}
			began, done := Epoch, Epoch.Add(2*time.Minute)
			s.Clock(func() time.Time { return done })
			require.NoError(t, write.do(t.Context(), s, began))
			changes, err := s.Changes(t.Context(), began.Add(time.Minute))
			require.NoError(t, err)
			require.Len(t, changes, write.entries)
			for _, change := range changes {
				require.Equal(t, done, change.At, fmt.Sprint(change))
			}
		})
	}
}

// lastEntry: a replica finds the newest entry it knows, however long ago that was.
func lastEntry(t *testing.T, s storage.Storage) {
	for n := range 3 {
		s.Clock(func() time.Time { return Epoch.Add(time.Duration(n) * time.Minute) })
		create(t, s, App(n+1))
	}
	gone, err := s.CollectGarbage(t.Context(), Epoch.Add(48*time.Hour), 100)
	require.NoError(t, err)
	require.Equal(t, 2, gone["changes"])
	changes, err := s.Changes(t.Context(), time.Time{})
	require.NoError(t, err)
	require.Len(t, changes, 1)
	require.Equal(t, App(3).ClientID, changes[0].Key)
}
