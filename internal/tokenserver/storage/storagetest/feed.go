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

	all, err := s.Changes(t.Context(), 0)
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
	late, err := s.Changes(t.Context(), all[1].ID)
	require.NoError(t, err)
	require.Equal(t, all[1:], late, "the given one is included")
	for n, want := range map[int][]storage.Change{1: all[4:], 2: all[3:], 5: all, 6: all} {
		latest, err := s.LatestChanges(t.Context(), n)
		require.NoError(t, err)
		require.Equal(t, want, latest)
	}
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
	"RestoreEpoch": {nil, func(ctx context.Context, s storage.Storage, now time.Time) error {
		_, err := s.RestoreEpoch(ctx, storage.Epoch{Kind: storage.EpochUser, Key: "user-1", Value: 1}, now)
		return err
	}, 1},
	"RestoreEpoch of one that is there": {func(ctx context.Context, s storage.Storage, now time.Time) error {
		_, err := s.RaiseEpoch(ctx, storage.EpochUser, "user-1", now)
		return err
	}, func(ctx context.Context, s storage.Storage, now time.Time) error {
		_, err := s.RestoreEpoch(ctx, storage.Epoch{Kind: storage.EpochUser, Key: "user-1", Value: now.UnixMicro()}, now)
		return err
	}, 0},
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

// feedEntries calls every write as a request does whose body took two minutes.
func feedEntries(t *testing.T, open func(t *testing.T) storage.Storage) {
	for name, write := range followed {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			if write.before != nil {
				require.NoError(t, write.before(t.Context(), s, Epoch))
			}
			before, err := s.Changes(t.Context(), 0)
			require.NoError(t, err)
			done := Epoch.Add(2 * time.Minute)
			s.Clock(func() time.Time { return done })
			require.NoError(t, write.do(t.Context(), s, Epoch))
			after, err := s.Changes(t.Context(), 0)
			require.NoError(t, err)
			require.Len(t, after, len(before)+write.entries)
			for _, change := range after[len(before):] {
				require.Equal(t, done, change.At, fmt.Sprint(change))
			}
		})
	}
}

// feedGarbage collects what is old and leaves the last of it.
func feedGarbage(t *testing.T, s storage.Storage) {
	for n := range 5 {
		s.Clock(func() time.Time { return Epoch.Add(time.Duration(n) * time.Minute) })
		require.NoError(t, s.EndToken(t.Context(), storage.EndedToken{Kind: storage.EndedAccessToken, Key: fmt.Sprint(n), ExpiresAt: Epoch}))
	}
	all, err := s.Changes(t.Context(), 0)
	require.NoError(t, err)
	for _, c := range []struct {
		now  time.Time
		left []storage.Change
	}{{Epoch.Add(time.Hour), all}, {Epoch.Add(time.Hour + 150*time.Second), all[2:]}, {Epoch.Add(24 * time.Hour), all[4:]}} {
		_, err := s.CollectGarbage(t.Context(), c.now, 100)
		require.NoError(t, err)
		left, err := s.Changes(t.Context(), 0)
		require.NoError(t, err)
		require.Equal(t, c.left, left)
	}
}

// feedOfWrongClocks: what a server with a wrong clock writes is no older than what
// others write at the same time, and does not keep theirs for ever.
func feedOfWrongClocks(t *testing.T, open func(t *testing.T) storage.Storage) {
	const hour = time.Hour
	for name, c := range map[string]struct{ written, left []time.Duration }{
		"a slow one, after the others":  {[]time.Duration{0, -2 * hour, -2 * hour}, []time.Duration{0, -2 * hour, -2 * hour}},
		"a slow one, among the others":  {[]time.Duration{-3 * hour, -3 * hour, 0, -2 * hour, 0}, []time.Duration{-3 * hour, 0, -2 * hour, 0}},
		"one that is years ahead":       {[]time.Duration{10000 * hour, -3 * hour, -2 * hour, 0}, []time.Duration{10000 * hour, -2 * hour, 0}},
		"one that is a little ahead":    {[]time.Duration{time.Minute, -2 * hour, 0}, []time.Duration{time.Minute, -2 * hour, 0}},
		"none, and all of it is of old": {[]time.Duration{-4 * hour, -3 * hour}, []time.Duration{-3 * hour}},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			for n, at := range c.written {
				s.Clock(func() time.Time { return Epoch.Add(at) })
				require.NoError(t, s.EndToken(t.Context(), storage.EndedToken{Kind: storage.EndedAccessToken, Key: fmt.Sprint(n), ExpiresAt: Epoch}))
			}
			// Who wrote them has seen them.
			_, err := s.Changes(t.Context(), 0)
			require.NoError(t, err)
			_, err = s.CollectGarbage(t.Context(), Epoch, 100)
			require.NoError(t, err)
			changes, err := s.Changes(t.Context(), 0)
			require.NoError(t, err)
			var left []time.Duration
			for _, change := range changes {
				left = append(left, change.At.Sub(Epoch))
			}
			require.Equal(t, c.left, left)
		})
	}
}
