// SPDX-License-Identifier: Apache-2.0

package storagetest

import (
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
	changes, err := s.Changes(t.Context(), Epoch)
	require.NoError(t, err)
	require.Equal(t, storage.ChangeEpoch, changes[0].Kind)
	require.Equal(t, "user u", changes[0].Key)

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
	require.Empty(t, observe(map[string]string{"a": "2", "b": "1", "c": "1"}), "nothing of theirs is alive when they come back")
}

func endedTokens(t *testing.T, s storage.Storage) {
	ended := storage.EndedToken{Kind: storage.EndedAccessToken, Key: "jti", ExpiresAt: Epoch.Add(time.Hour)}
	require.NoError(t, s.EndToken(t.Context(), ended, Epoch))
	earlier := ended
	earlier.ExpiresAt = Epoch.Add(time.Minute)
	require.NoError(t, s.EndToken(t.Context(), earlier, Epoch))
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
	changes, err := s.Changes(t.Context(), Epoch)
	require.NoError(t, err)
	require.Equal(t, storage.ChangeEnded, changes[0].Kind)
	require.Equal(t, "jti jti", changes[0].Key)
}

func garbageInBatches(t *testing.T, s storage.Storage) {
	for i := range 25 {
		require.NoError(t, s.EndToken(t.Context(), storage.EndedToken{Kind: storage.EndedAccessToken, Key: fmt.Sprint(i), ExpiresAt: Epoch}, Epoch))
	}
	for _, want := range []int{10, 10, 5, 0} {
		gone, err := s.CollectGarbage(t.Context(), Epoch.Add(time.Second), 10)
		require.NoError(t, err)
		require.Equal(t, want, gone["revocations"])
	}
}
