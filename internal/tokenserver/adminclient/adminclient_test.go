// SPDX-License-Identifier: Apache-2.0

package adminclient_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/adminclient"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
)

type harness struct {
	*adminclient.Applier
	store storage.Storage
	now   time.Time
}

func newHarness(t *testing.T) *harness {
	h := &harness{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "db"), h.now)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	h.store = store
	h.Applier = &adminclient.Applier{
		Apps: store, Hash: func(s string) []byte { return []byte("hash of " + s) }, Now: func() time.Time { return h.now },
	}
	return h
}

func (h *harness) apply(t *testing.T, org, id, secret string) error {
	return h.Apply(t.Context(), directory.New([]directory.Organization{{ID: org, OwnerID: "owner"}}, nil),
		&adminclient.Client{ClientID: id, Secret: secret})
}

func (h *harness) app(t *testing.T, id string) storage.App {
	app, err := h.store.App(t.Context(), id)
	require.NoError(t, err)
	return app
}

// live are the secrets that are accepted.
func (h *harness) live(t *testing.T, id string) []string {
	var live []string
	for _, s := range h.app(t, id).Secrets {
		if s.Live(h.now) {
			live = append(live, strings.TrimPrefix(string(s.Hash), "hash of "))
		}
	}
	return live
}

func TestTheClientMayManageAppsOfTheFirstOrganization(t *testing.T) {
	h := newHarness(t)
	require.NoError(t, h.apply(t, "org", "admin", "one"))
	app := h.app(t, "admin")
	require.Equal(t, "org", app.OrgID)
	require.Equal(t, []string{"client_credentials"}, app.GrantTypes)
	require.Equal(t, []storage.ContextScope{{Scope: "manage:orgconnapps", Org: "org"}}, app.ContextScopes)
	require.Equal(t, "owner", app.OwnerUserID)
	require.True(t, app.Enabled)
	require.Equal(t, []string{"one"}, h.live(t, "admin"))
}

func TestAStartThatChangesNothingWritesNothing(t *testing.T) {
	h := newHarness(t)
	require.NoError(t, h.apply(t, "org", "admin", "one"))
	before := h.app(t, "admin")
	h.now = h.now.Add(time.Hour)
	require.NoError(t, h.apply(t, "org", "admin", "one"))
	require.Equal(t, before, h.app(t, "admin"))
}

func TestAChangedFileAddsTheNewSecretAndEndsTheOldOne(t *testing.T) {
	h := newHarness(t)
	for _, secret := range []string{"one", "two", "one", "three"} {
		h.now = h.now.Add(time.Hour)
		require.NoError(t, h.apply(t, "org", "admin", secret))
		require.Equal(t, []string{secret}, h.live(t, "admin"))
		require.Equal(t, h.now, h.app(t, "admin").SecretUpdatedAt)
	}
	require.Len(t, h.app(t, "admin").Secrets, 3, "retired ones are kept for recognition")
}

func TestWhatSomebodyChangedInTheDatabaseIsSetRight(t *testing.T) {
	h := newHarness(t)
	require.NoError(t, h.apply(t, "org", "admin", "one"))
	_, err := h.store.UpdateApp(t.Context(), "admin", h.now, func(app *storage.App) error {
		app.Enabled, app.ContextScopes = false, nil
		return nil
	})
	require.NoError(t, err)
	require.NoError(t, h.apply(t, "org", "admin", "one"))
	require.True(t, h.app(t, "admin").Enabled)
	require.Len(t, h.app(t, "admin").ContextScopes, 1)
}

func TestTheClientOfAnEarlierConfigurationGoes(t *testing.T) {
	h := newHarness(t)
	require.NoError(t, h.apply(t, "org", "admin", "one"))
	require.NoError(t, h.apply(t, "org", "manager", "one"))
	_, err := h.store.App(t.Context(), "admin")
	require.ErrorIs(t, err, storage.ErrNotFound)
	require.NoError(t, h.Apply(t.Context(), directory.New(nil, nil), nil))
	_, err = h.store.App(t.Context(), "manager")
	require.ErrorIs(t, err, storage.ErrNotFound)
	require.NoError(t, h.apply(t, "org", "admin", "two"), "it may come back")
}

func TestAnAppSomebodyRegisteredIsNotTakenOver(t *testing.T) {
	h := newHarness(t)
	_, err := h.store.CreateApp(t.Context(), storage.App{ClientID: "admin", OrgID: "org", Name: "theirs", CreatedAt: h.now, UpdatedAt: h.now})
	require.NoError(t, err)
	require.ErrorIs(t, h.apply(t, "org", "admin", "one"), adminclient.ErrTaken)
	require.Equal(t, "theirs", h.app(t, "admin").Name)
}

func TestTheClientDoesNotMoveToAnotherOrganization(t *testing.T) {
	h := newHarness(t)
	require.NoError(t, h.apply(t, "org", "admin", "one"))
	require.ErrorIs(t, h.apply(t, "other", "admin", "one"), adminclient.ErrTaken)
	require.Equal(t, "org", h.app(t, "admin").OrgID)
	require.NoError(t, h.Apply(t.Context(), directory.New(nil, nil), nil))
	require.ErrorIs(t, h.apply(t, "other", "admin", "one"), adminclient.ErrTaken, "nor after its deletion")
}
