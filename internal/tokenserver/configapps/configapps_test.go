// SPDX-License-Identifier: Apache-2.0

package configapps_test

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/configapps"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
)

type harness struct {
	*configapps.Applier
	store storage.Storage
	now   time.Time
}

func newHarness(t *testing.T) *harness {
	h := &harness{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "db"), h.now)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	h.store = store
	h.Applier = &configapps.Applier{
		Apps: store, Hash: func(s string) []byte { return []byte("hash of " + s) }, Now: func() time.Time { return h.now },
	}
	return h
}

func (h *harness) apply(t *testing.T, org, id, secret string) error {
	return h.Apply(t.Context(), []configapps.App{configapps.Administrator(&directory.Organization{ID: org, OwnerID: "owner"}, id, []string{secret}, nil)})
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
	require.NoError(t, h.Apply(t.Context(), nil))
	_, err = h.store.App(t.Context(), "manager")
	require.ErrorIs(t, err, storage.ErrNotFound)
	require.NoError(t, h.apply(t, "org", "admin", "two"), "it may come back")
}

func TestAnAppSomebodyRegisteredIsNotTakenOver(t *testing.T) {
	h := newHarness(t)
	_, err := h.store.CreateApp(t.Context(), storage.App{ClientID: "admin", OrgID: "org", Name: "theirs", CreatedAt: h.now, UpdatedAt: h.now})
	require.NoError(t, err)
	require.ErrorIs(t, h.apply(t, "org", "admin", "one"), configapps.ErrTaken)
	require.Equal(t, "theirs", h.app(t, "admin").Name)
}

func TestTheClientDoesNotMoveToAnotherOrganization(t *testing.T) {
	h := newHarness(t)
	require.NoError(t, h.apply(t, "org", "admin", "one"))
	require.ErrorIs(t, h.apply(t, "other", "admin", "one"), configapps.ErrTaken)
	require.Equal(t, "org", h.app(t, "admin").OrgID)
	require.NoError(t, h.Apply(t.Context(), nil))
	require.ErrorIs(t, h.apply(t, "other", "admin", "one"), configapps.ErrTaken, "nor after its deletion")
}

func configured(id, name string, secrets ...string) configapps.App {
	return configapps.App{Secrets: secrets, Record: storage.App{ClientID: id, OrgID: "org", Name: name, Config: configapps.OriginApps, Enabled: true}}
}

func TestAppsAreMadeChangedAndDeletedAsTheConfigurationIs(t *testing.T) {
	h := newHarness(t)
	require.NoError(t, h.Apply(t.Context(), []configapps.App{configured("a", "A", "one", "two"), configured("b", "B")}))
	require.ElementsMatch(t, []string{"one", "two"}, h.live(t, "a"))
	require.Empty(t, h.live(t, "b"))
	created := h.app(t, "a").CreatedAt

	h.now = h.now.Add(time.Hour)
	require.NoError(t, h.Apply(t.Context(), []configapps.App{configured("a", "A again", "two", "three")}))
	require.Equal(t, "A again", h.app(t, "a").Name)
	require.Equal(t, created, h.app(t, "a").CreatedAt)
	require.ElementsMatch(t, []string{"two", "three"}, h.live(t, "a"))
	_, err := h.store.App(t.Context(), "b")
	require.ErrorIs(t, err, storage.ErrNotFound)
}

func TestOneAppThatCannotBeWrittenHoldsUpNoOther(t *testing.T) {
	h := newHarness(t)
	_, err := h.store.CreateApp(t.Context(), storage.App{ClientID: "theirs", OrgID: "org", Name: "theirs", CreatedAt: h.now, UpdatedAt: h.now})
	require.NoError(t, err)
	err = h.Apply(t.Context(), []configapps.App{configured("theirs", "mine"), configured("b", "B")})
	require.ErrorIs(t, err, configapps.ErrTaken)
	require.ErrorContains(t, err, "the app theirs of the configuration (apps)")
	require.Equal(t, "theirs", h.app(t, "theirs").Name)
	require.Equal(t, "B", h.app(t, "b").Name)
}

// Every field of a record is either a setting, which a changed configuration
// changes, or the server's own, which it must not touch.
func TestEveryFieldIsASettingOrTheServersOwn(t *testing.T) {
	own := []string{"ClientID", "OrgID", "ExternalID", "SecurityVersion", "SecurityBy", "Secrets", "CreatedAt", "UpdatedAt", "SecretUpdatedAt", "Revision"}
	h := newHarness(t)
	require.NoError(t, h.Apply(t.Context(), []configapps.App{configured("a", "A")}))
	want := configured("a", "B")
	want.Record.Enabled = false
	record := reflect.ValueOf(&want.Record).Elem()
	grace := time.Minute
	for i := range record.NumField() {
		field := record.Field(i)
		if slices.Contains(own, record.Type().Field(i).Name) {
			continue
		}
		switch value := field.Addr().Interface().(type) {
		case *string:
			*value = "text of " + record.Type().Field(i).Name
		case *[]string:
			*value = []string{"one"}
		case *[]storage.FederatedIdentity:
			*value = []storage.FederatedIdentity{{IssuerName: "i", Subject: "s"}}
		case *[]storage.ContextScope:
			*value = []storage.ContextScope{{Scope: "s"}}
		case **time.Duration:
			*value = &grace
		case *bool:
			*value = record.Type().Field(i).Name != "Enabled"
		default:
			t.Fatalf("decide whether %s is a setting of the configuration", record.Type().Field(i).Name)
		}
	}
	require.NoError(t, h.Apply(t.Context(), []configapps.App{want}))
	got := reflect.ValueOf(h.app(t, "a"))
	for i := range record.NumField() {
		if name := record.Type().Field(i).Name; !slices.Contains(own, name) {
			require.Equal(t, record.Field(i).Interface(), got.Field(i).Interface(), name)
		}
	}
}

// The file is an administrator's hand, but no user's: whatever asks users again
// when it is changed through the management API does so here.
func TestAChangedFileMovesTheSecurityVersion(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*storage.App)
		moves  bool
	}{
		"another redirect URI": {func(a *storage.App) { a.RedirectURIs = []string{"https://b.example/"} }, true},
		"another key":          {func(a *storage.App) { a.PublicKeys = []string{"key"} }, true},
		"another workload": {func(a *storage.App) {
			a.FederatedIdentities = []storage.FederatedIdentity{{IssuerName: "i", Subject: "s"}}
		}, true},
		"another authentication":   {func(a *storage.App) { a.TokenEndpointAuthMethod = "none" }, true},
		"another owner":            {func(a *storage.App) { a.OwnerUserID = "somebody" }, true},
		"another audience":         {func(a *storage.App) { a.Audience, a.SkipUserConsent = "everyone", false }, true},
		"the other kind":           {func(a *storage.App) { a.GrantTypes = []string{"client_credentials"} }, true},
		"users are asked from now": {func(a *storage.App) { a.SkipUserConsent = false }, true},
		"another name":             {func(a *storage.App) { a.Name = "B" }, false},
		"another scope":            {func(a *storage.App) { a.Scopes = []string{"profile", "email"} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			app := configured("a", "A", "secret")
			app.Record.GrantTypes, app.Record.Scopes = []string{"authorization_code"}, []string{"profile"}
			app.Record.RedirectURIs, app.Record.Audience, app.Record.SkipUserConsent = []string{"https://a.example/"}, "internal", true
			require.NoError(t, h.Apply(t.Context(), []configapps.App{app}))
			before := h.app(t, "a").SecurityVersion
			test.change(&app.Record)
			require.NoError(t, h.Apply(t.Context(), []configapps.App{app}))
			require.Equal(t, test.moves, h.app(t, "a").SecurityVersion != before)
		})
	}
}

func TestAnAppThatComesBackHasAVersionOfItsOwn(t *testing.T) {
	h := newHarness(t)
	require.NoError(t, h.Apply(t.Context(), []configapps.App{configured("a", "A")}))
	before := h.app(t, "a").SecurityVersion
	require.NoError(t, h.Apply(t.Context(), nil))
	h.now = h.now.Add(time.Minute)
	require.NoError(t, h.Apply(t.Context(), []configapps.App{configured("a", "A")}))
	require.NotEqual(t, before, h.app(t, "a").SecurityVersion)
}
