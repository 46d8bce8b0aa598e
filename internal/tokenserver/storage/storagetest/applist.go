// SPDX-License-Identifier: Apache-2.0

package storagetest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

func appList(t *testing.T, s storage.Storage) {
	var want []string
	for _, n := range []int{5, 3, 9, 1} {
		create(t, s, App(n))
		want = append(want, App(n).ClientID)
	}
	slices.Sort(want)
	// Two made in the same instant are told apart by their ids.
	twin := App(10)
	twin.CreatedAt = App(9).CreatedAt
	create(t, s, twin)
	want = append(want, twin.ClientID)
	other := App(2)
	other.OrgID = orgB
	create(t, s, other)

	configured := App(11)
	configured.Config = "bootstrap.adminClient"
	create(t, s, configured)
	n, err := s.CountApps(t.Context(), orgA)
	require.NoError(t, err)
	require.Equal(t, 5, n, "an app of the configuration does not count")

	var got []string
	for offset := 0; ; offset += 2 {
		page, total, err := s.Apps(t.Context(), storage.AppQuery{OrgID: orgA, Offset: offset, Limit: 2})
		require.NoError(t, err)
		require.Equal(t, 5, total)
		if len(page) == 0 {
			break
		}
		for _, app := range page {
			got = append(got, app.ClientID)
			require.Empty(t, app.Secrets, "a page shows none")
		}
	}
	require.Equal(t, want, got)

	var all []string
	require.NoError(t, s.AllApps(t.Context(), func(app storage.App) error {
		require.Len(t, app.Secrets, 2)
		all = append(all, app.ClientID)
		return nil
	}))
	require.ElementsMatch(t, append(got, other.ClientID, configured.ClientID), all)
	ids, err := s.ConfiguredApps(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{configured.ClientID}, ids)
}

func appSearch(t *testing.T, s storage.Storage) {
	percent := App(1)
	percent.Name = "100% Größe"
	create(t, s, percent)
	create(t, s, App(2))
	for search, want := range map[string][]int{
		"größe": {1}, "GRÖSSE": {}, "100%": {1}, "0%g": {}, "app_2": {}, "APP 2": {2}, "https://a.EXAMPLE/": {1, 2}, "view:x": {1, 2}, "nowhere": {}, `\`: {},
	} {
		page, total, err := s.Apps(t.Context(), storage.AppQuery{OrgID: orgA, Search: search, Limit: 10})
		require.NoError(t, err)
		require.Equal(t, len(want), total, search)
		for i, n := range want {
			require.Equal(t, App(n).ClientID, page[i].ClientID, search)
		}
	}
	page, total, err := s.Apps(t.Context(), storage.AppQuery{OrgID: orgA, ExternalID: "external-2", Limit: 10})
	require.NoError(t, err)
	require.Equal(t, 1, total)
	require.Equal(t, App(2).ClientID, page[0].ClientID)
}

// appModel drives an engine and a map with the same random steps and compares
// them after each.
func appModel(t *testing.T, open func(t *testing.T) storage.Storage) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &appMachine{t: t, s: open(t), apps: map[string]storage.App{}}
		defer func() { _ = m.s.Close() }()
		rt.Repeat(map[string]func(*rapid.T){
			"create": m.create,
			"update": m.update,
			"delete": m.delete,
			"":       m.check,
		})
	})
}

type appMachine struct {
	t    *testing.T
	s    storage.Storage
	apps map[string]storage.App
}

func (m *appMachine) pick(rt *rapid.T) storage.App { return App(rapid.IntRange(1, 4).Draw(rt, "app")) }

func (m *appMachine) create(rt *rapid.T) {
	app := m.pick(rt)
	_, taken := m.apps[app.ClientID]
	stored, err := m.s.CreateApp(m.t.Context(), app)
	if taken {
		require.ErrorIs(rt, err, storage.ErrAlreadyExists)
		return
	}
	require.NoError(rt, err)
	m.apps[app.ClientID] = stored
}

func (m *appMachine) update(rt *rapid.T) {
	id, name := m.pick(rt).ClientID, rapid.SampledFrom([]string{"one", "two"}).Draw(rt, "name")
	got, err := m.s.UpdateApp(m.t.Context(), id, Epoch.Add(time.Hour), func(a *storage.App) error { a.Name = name; return nil })
	before, known := m.apps[id]
	if !known {
		require.ErrorIs(rt, err, storage.ErrNotFound)
		return
	}
	require.NoError(rt, err)
	require.Equal(rt, before.Name == name, got.Revision == before.Revision, "the revision moves with a change, and only then")
	m.apps[id] = got
}

func (m *appMachine) delete(rt *rapid.T) {
	id := m.pick(rt).ClientID
	_, err := m.s.DeleteApp(m.t.Context(), id, Epoch)
	if _, known := m.apps[id]; !known {
		require.ErrorIs(rt, err, storage.ErrNotFound)
		return
	}
	require.NoError(rt, err)
	delete(m.apps, id)
}

func (m *appMachine) check(rt *rapid.T) {
	want := []storage.App{}
	for _, app := range m.apps {
		app.Secrets = nil
		want = append(want, app)
		alone, err := m.s.App(m.t.Context(), app.ClientID)
		require.NoError(rt, err)
		require.Equal(rt, m.apps[app.ClientID].Secrets, alone.Secrets)
	}
	slices.SortFunc(want, func(a, b storage.App) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), strings.Compare(a.ClientID, b.ClientID))
	})
	got, total, err := m.s.Apps(m.t.Context(), storage.AppQuery{OrgID: orgA, Limit: 100})
	require.NoError(rt, err)
	require.Equal(rt, len(want), total)
	require.Equal(rt, fmt.Sprint(want), fmt.Sprint(append([]storage.App{}, got...)))
}
