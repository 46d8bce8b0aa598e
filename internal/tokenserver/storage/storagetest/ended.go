// SPDX-License-Identifier: Apache-2.0

package storagetest

import (
	"cmp"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

func epochs(t *testing.T, s storage.Storage) {
	never, err := s.Epoch(t.Context(), storage.EpochUser, "u")
	require.NoError(t, err)
	require.Zero(t, never.Value)

	first, err := s.RaiseEpoch(t.Context(), storage.EpochUser, "u", Epoch)
	require.NoError(t, err)
	require.Equal(t, Epoch.UnixMicro(), first.Value, "a restored database gives no value twice")
	second, err := s.RaiseEpoch(t.Context(), storage.EpochUser, "u", Epoch.Add(-time.Hour))
	require.NoError(t, err)
	require.Equal(t, first.Value+1, second.Value, "a clock that was set back lowers nothing")
	got, err := s.Epoch(t.Context(), storage.EpochUser, "u")
	require.NoError(t, err)
	require.Equal(t, second, got)
	all, err := s.Epochs(t.Context())
	require.NoError(t, err)
	require.Equal(t, []storage.Epoch{second}, all)
	changes, err := s.Changes(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, storage.ChangeEpoch, changes[0].Kind)
	require.Equal(t, "user u", changes[0].Key)

	for _, c := range []struct {
		lost int64
		now  time.Time
		want int64 // 0: as it was
	}{
		{second.Value - 1, Epoch.Add(time.Hour), 0}, {second.Value, Epoch.Add(time.Hour), 0},
		{second.Value + 5, Epoch, second.Value + 6}, {second.Value + 7, Epoch.Add(time.Hour), Epoch.Add(time.Hour).UnixMicro()},
	} {
		before, err := s.Epoch(t.Context(), storage.EpochUser, "u")
		require.NoError(t, err)
		again, err := s.RestoreEpoch(t.Context(), storage.Epoch{Kind: storage.EpochUser, Key: "u", Value: c.lost}, c.now)
		require.NoError(t, err)
		require.Equal(t, c.want != 0, again)
		after, err := s.Epoch(t.Context(), storage.EpochUser, "u")
		require.NoError(t, err)
		require.Equal(t, cmp.Or(c.want, before.Value), after.Value)
	}

	raised := make([]int64, 20)
	parallel(len(raised), func(i int) {
		e, err := s.RaiseEpoch(t.Context(), storage.EpochApp, "a", Epoch)
		if err != nil {
			t.Error(err)
		}
		raised[i] = e.Value
	})
	seen := map[int64]bool{}
	for _, value := range raised {
		require.False(t, seen[value], "two raises gave %d", value)
		seen[value] = true
	}
}

func deletedAppsEpoch(t *testing.T, s storage.Storage) {
	create(t, s, App(1))
	first := remove(t, s, App(1).ClientID)
	require.Positive(t, first.Value)
	create(t, s, App(1))
	second := remove(t, s, App(1).ClientID)
	require.Greater(t, second.Value, first.Value, "also in the same microsecond")
	_, err := s.CollectGarbage(t.Context(), Epoch.Add(49*time.Hour), 100)
	require.NoError(t, err)
	left, err := s.Epochs(t.Context())
	require.NoError(t, err)
	require.Empty(t, left, "no token of the app can be alive")
}

func observation(t *testing.T, s storage.Storage) {
	observe := func(states map[string]string) []string {
		var present []storage.Configured
		for key, state := range states {
			present = append(present, storage.Configured{Kind: storage.EpochUser, Key: key, State: state})
		}
		raised, err := s.Observe(t.Context(), present, Epoch)
		require.NoError(t, err)
		keys := []string{}
		for _, e := range raised {
			keys = append(keys, e.Key)
		}
		return keys
	}
	require.Empty(t, observe(map[string]string{"a": "1", "b": "1", "c": "1"}), "nothing is known of them yet")
	require.Empty(t, observe(map[string]string{"a": "1", "b": "1", "c": "1"}))
	require.ElementsMatch(t, []string{"a", "b", "c"}, observe(map[string]string{"a": "2", "b": ""}), "changed, disabled, gone")
	require.ElementsMatch(t, []string{"b", "c"}, observe(map[string]string{"a": "2", "b": "1", "c": "1"}),
		"a replica with the former configuration may have issued something meanwhile")
	require.Empty(t, observe(map[string]string{"a": "2", "b": "1", "c": "1"}))
}

func observationByMany(t *testing.T, s storage.Storage) {
	before := storage.Configured{Kind: storage.EpochUser, Key: "a", State: "1"}
	after := storage.Configured{Kind: storage.EpochUser, Key: "a", State: "2"}
	for _, step := range []struct {
		now  storage.Configured
		want int
	}{{before, 0}, {after, 1}, {after, 0}} {
		raised, err := s.Observe(t.Context(), []storage.Configured{step.now}, Epoch)
		require.NoError(t, err)
		require.Len(t, raised, step.want)
	}
	after.Changed = true
	raised, err := s.Observe(t.Context(), []storage.Configured{after}, Epoch)
	require.NoError(t, err)
	require.Len(t, raised, 1, "another replica acted on the former state until now")
}

func providersThatLeave(t *testing.T, s storage.Storage) {
	ids := map[string]bool{}
	for n := range 3 {
		stored, err := s.PutUser(t.Context(), storage.User{ID: fmt.Sprint(n), OrgID: "o", IDProviderID: "p", Username: fmt.Sprint("u", n)}, Epoch)
		require.NoError(t, err)
		ids[stored.ID] = true
	}
	_, err := s.PutUser(t.Context(), storage.User{ID: "other", OrgID: "o", IDProviderID: "q", Username: "u"}, Epoch)
	require.NoError(t, err)
	first, err := s.RaiseEpoch(t.Context(), storage.EpochUser, "0", Epoch)
	require.NoError(t, err)
	there := []storage.Configured{{Kind: storage.EpochProvider, Key: storage.ProviderKey("o", "p"), State: "present"}}
	raised, err := s.Observe(t.Context(), there, Epoch)
	require.NoError(t, err)
	require.Empty(t, raised)
	changes, err := s.Changes(t.Context(), 0)
	require.NoError(t, err)
	entries := len(changes)

	raised, err = s.Observe(t.Context(), nil, Epoch)
	require.NoError(t, err)
	require.Len(t, raised, 3)
	for _, e := range raised {
		require.Equal(t, storage.EpochUser, e.Kind)
		require.True(t, ids[e.Key])
		require.GreaterOrEqual(t, e.Value, first.Value)
	}
	changes, err = s.Changes(t.Context(), 0)
	require.NoError(t, err)
	require.Len(t, changes, entries+1, "one entry, however many users")
	require.Equal(t, "provider o p", changes[entries].Key)
}

func restoredAppsEpoch(t *testing.T, s storage.Storage) {
	create(t, s, App(1))
	first := remove(t, s, App(1).ClientID)
	later := Epoch.Add(49 * time.Hour)
	s.Clock(func() time.Time { return later })
	_, err := s.CollectGarbage(t.Context(), later, 100)
	require.NoError(t, err)
	create(t, s, App(1))
	restored, err := s.Epoch(t.Context(), storage.EpochApp, App(1).ClientID)
	require.NoError(t, err)
	require.GreaterOrEqual(t, restored.Value, first.Value, "whoever still knows the former epoch and whoever has forgotten it agree")
	changes, err := s.Changes(t.Context(), 0)
	require.NoError(t, err)
	last := changes[len(changes)-2:]
	require.Equal(t, []storage.ChangeKind{storage.ChangeEpoch, storage.ChangeApp}, []storage.ChangeKind{last[0].Kind, last[1].Kind})
}

func endedTokens(t *testing.T, s storage.Storage) {
	ended := storage.EndedToken{Kind: storage.EndedAccessToken, Key: "jti", ExpiresAt: Epoch.Add(time.Hour)}
	require.NoError(t, s.EndToken(t.Context(), ended))
	earlier := ended
	earlier.ExpiresAt = Epoch.Add(time.Minute)
	require.NoError(t, s.EndToken(t.Context(), earlier))
	got, err := s.EndedToken(t.Context(), ended.Kind, ended.Key)
	require.NoError(t, err)
	require.Equal(t, ended, got, "the later end stays")
	active, err := s.EndedTokens(t.Context(), Epoch.Add(time.Hour-time.Second))
	require.NoError(t, err)
	require.Equal(t, []storage.EndedToken{ended}, active)
	active, err = s.EndedTokens(t.Context(), ended.ExpiresAt)
	require.NoError(t, err)
	require.Empty(t, active)
	_, err = s.EndedToken(t.Context(), ended.Kind, "other")
	require.ErrorIs(t, err, storage.ErrNotFound)
	changes, err := s.Changes(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, storage.ChangeEnded, changes[0].Kind)
	require.Equal(t, "jti jti", changes[0].Key)
}

func garbageInBatches(t *testing.T, s storage.Storage) {
	for i := range 25 {
		require.NoError(t, s.EndToken(t.Context(), storage.EndedToken{Kind: storage.EndedAccessToken, Key: fmt.Sprint(i), ExpiresAt: Epoch}))
	}
	for _, want := range []int{10, 10, 5, 0} {
		gone, err := s.CollectGarbage(t.Context(), Epoch.Add(time.Second), 10)
		require.NoError(t, err)
		require.Equal(t, want, gone["revocations"])
	}
}
