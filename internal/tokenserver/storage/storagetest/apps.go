// SPDX-License-Identifier: Apache-2.0

// Package storagetest is the suite that a storage engine must pass.
package storagetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// Epoch is the time at which the suite's records begin.
var Epoch = time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)

const orgA, orgB = "org-a", "org-b"

// Run runs the whole suite; open returns a new, empty storage that the test
// closes.
func Run(t *testing.T, open func(t *testing.T) storage.Storage) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, storage.Storage){
		"an app comes back as it was stored":                       appRoundTrip,
		"a client id or an external id is given once":              appIdentity,
		"a list is stable, paged and counted":                      appList,
		"a search finds any property and takes wildcards as text":  appSearch,
		"an update is written whole, or not at all":                appUpdate,
		"concurrent updates are all kept":                          appConcurrentUpdates,
		"of concurrent creations with one external id one wins":    appConcurrentCreation,
		"text that no engine stores is refused":                    appText,
		"secrets are kept, retired and touched":                    appSecrets,
		"many secrets are touched at once":                         manyTouchedSecrets,
		"every change of an app is in the feed":                    feedOfApps,
		"an epoch only grows":                                      epochs,
		"a deleted app's epoch outlives its tokens":                deletedAppsEpoch,
		"what the configuration changes is ended once":             observation,
		"what another replica did meanwhile is ended too":          observationByMany,
		"the users of a provider that leaves are ended at once":    providersThatLeave,
		"a restored app has an epoch of its own":                   restoredAppsEpoch,
		"an ended token is remembered until it expires":            endedTokens,
		"the database has a size":                                  databaseSize,
		"operations are measured":                                  measured,
		"garbage goes in batches":                                  garbageInBatches,
		"data keys are made once and rewrapped":                    dataKeys,
		"signing keys change in one transaction":                   signingKeys,
		"opaque tokens go with their app":                          opaqueTokens,
		"an assertion counts once":                                 usedAssertions,
		"the installation id stays":                                installation,
		"a code is redeemed once, its family with it":              codes,
		"of concurrent redemptions of a code one wins":             codeConcurrentRedemption,
		"a refresh family rotates, and ends":                       families,
		"of concurrent rotations one wins":                         familyConcurrentRotation,
		"a refresh family goes when its last rotation has expired": familyGarbage,
		"sessions are found by hash, touched and deleted":          sessions,
		"consents are widened by union":                            consents,
		"a revoked consent raises its epoch":                       consentRevocation,
		"consent is to one version of the app":                     consentVersions,
		"users are one per organization, provider and name":        users,
		"an app takes what hangs on it with it":                    deletedApp,
		"garbage goes when its time has come and not a day before": garbage,
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			s.Clock(func() time.Time { return Epoch })
			test(t, s)
		})
	}
	t.Run("every write that is followed has its entries in the feed", func(t *testing.T) { feedEntries(t, open) })
	t.Run("the last of the old entries of the feed stays", func(t *testing.T) { feedGarbage(t, open(t)) })
	t.Run("no clock takes an entry of the feed from those who have not read it", func(t *testing.T) { feedOfWrongClocks(t, open) })
	t.Run("the apps behave as a map does", func(t *testing.T) { appModel(t, open) })
}

// App is an app with every field set.
func App(n int) storage.App {
	grace := 5 * time.Second
	at := Epoch.Add(time.Duration(n) * time.Second)
	return storage.App{
		ClientID: fmt.Sprintf("%032x", n), OrgID: orgA, ExternalID: fmt.Sprintf("external-%d", n), Name: fmt.Sprintf("App %d", n),
		GrantTypes: []string{"authorization_code", "refresh_token"}, RedirectURIs: []string{"https://b.example/", "https://a.example/"},
		Scopes: []string{"profile", "openid"}, ContextScopes: []storage.ContextScope{{Scope: "view:x", Org: orgA, EnvID: "e"}, {Scope: "a:b"}},
		FederatedIdentities: []storage.FederatedIdentity{{IssuerName: "cluster", Subject: "system:serviceaccount:a:b"}},
		PublicKeys:          []string{"line one\r\nline two\n"}, Audience: "everyone", ClientURI: "https://c.example", PolicyURI: "https://p.example",
		TOSURI: "https://t.example", Enabled: true, OwnerUserID: "user-1", OwnerOrgID: orgA, GenerateISSClaimWithoutToken: true,
		IDProviderID: "idp", TokenEndpointAuthMethod: "client_secret_post", AccessTokenFormat: "jwt",
		PostLogoutRedirectURIs: []string{"https://a.example/out"}, IdentityProviders: []string{"idp"}, SkipUserConsent: true, RefreshGrace: &grace,
		SecurityVersion: 7, SecurityBy: "client a", IDTokenAlg: "ES256", AccessTokenAlg: "RS256", SecretUpdatedAt: at, CreatedAt: at, UpdatedAt: at,
		Secrets: []storage.Secret{
			{ID: fmt.Sprintf("secret-%d-old", n), Hash: []byte{0, 1, 2}, CreatedAt: at, ExpiresAt: at.Add(time.Hour), LastUsedAt: at.Add(time.Minute)},
			{ID: fmt.Sprintf("secret-%d", n), Hash: []byte{3}, Sealed: []byte{4, 5}, CreatedAt: at.Add(time.Second)},
		},
	}
}

func create(t *testing.T, s storage.Storage, app storage.App) storage.App {
	t.Helper()
	stored, err := s.CreateApp(t.Context(), app)
	require.NoError(t, err)
	return stored
}

func remove(t *testing.T, s storage.Storage, clientID string) storage.Epoch {
	t.Helper()
	ended, err := s.DeleteApp(t.Context(), clientID, Epoch)
	require.NoError(t, err)
	return ended
}

func appRoundTrip(t *testing.T, s storage.Storage) {
	want := App(1)
	stored := create(t, s, want)
	require.NotZero(t, stored.Revision)
	want.Revision = stored.Revision

	got, err := s.App(t.Context(), want.ClientID)
	require.NoError(t, err)
	require.Equal(t, want, got)
	got, err = s.AppByExternalID(t.Context(), orgA, want.ExternalID)
	require.NoError(t, err)
	require.Equal(t, want, got)

	_, err = s.App(t.Context(), "unknown")
	require.ErrorIs(t, err, storage.ErrNotFound)
	_, err = s.AppByExternalID(t.Context(), orgB, want.ExternalID)
	require.ErrorIs(t, err, storage.ErrNotFound, "an external id is its organization's")
}

func appIdentity(t *testing.T, s storage.Storage) {
	create(t, s, App(1))
	sameID := App(2)
	sameID.ClientID = App(1).ClientID
	_, err := s.CreateApp(t.Context(), sameID)
	require.ErrorIs(t, err, storage.ErrAlreadyExists)

	sameExternal := App(3)
	sameExternal.ExternalID = App(1).ExternalID
	_, err = s.CreateApp(t.Context(), sameExternal)
	require.ErrorIs(t, err, storage.ErrAlreadyExists)

	sameExternal.OrgID = orgB
	create(t, s, sameExternal)

	none, another := App(4), App(5)
	none.ExternalID, another.ExternalID = "", ""
	create(t, s, none)
	create(t, s, another)

	remove(t, s, App(1).ClientID)
	_, err = s.DeleteApp(t.Context(), App(1).ClientID, Epoch)
	require.ErrorIs(t, err, storage.ErrNotFound)
	foreign := App(1)
	foreign.OrgID = orgB
	_, err = s.CreateApp(t.Context(), foreign)
	require.ErrorIs(t, err, storage.ErrAlreadyExists, "a client id never moves to another organization")
	create(t, s, App(1))
}

func appUpdate(t *testing.T, s storage.Storage) {
	before := create(t, s, App(1))
	later := Epoch.Add(time.Hour)

	same, err := s.UpdateApp(t.Context(), before.ClientID, later, func(app *storage.App) error {
		app.Name = "App 1"
		app.Scopes = append([]string{}, app.Scopes...)
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, before, same, "nothing changed, so nothing is written")

	refusal := errors.New("refused")
	_, err = s.UpdateApp(t.Context(), before.ClientID, later, func(app *storage.App) error {
		app.Name = "lost"
		app.Scopes[0] = "lost"
		return refusal
	})
	require.ErrorIs(t, err, refusal)
	got, err := s.App(t.Context(), before.ClientID)
	require.NoError(t, err)
	require.Equal(t, before, got)

	after, err := s.UpdateApp(t.Context(), before.ClientID, later, func(app *storage.App) error {
		app.Scopes[0] = "full"
		app.RefreshGrace = nil
		app.ContextScopes = nil
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, after.Revision, before.Revision)
	require.Equal(t, later, after.UpdatedAt)
	got, err = s.App(t.Context(), before.ClientID)
	require.NoError(t, err)
	require.Equal(t, after, got)
	require.Equal(t, []string{"full", "openid"}, got.Scopes)

	_, err = s.UpdateApp(t.Context(), "unknown", later, func(*storage.App) error { return nil })
	require.ErrorIs(t, err, storage.ErrNotFound)
}

func appText(t *testing.T, s storage.Storage) {
	for name, spoil := range map[string]func(*storage.App){
		"NUL in the name":      func(a *storage.App) { a.Name = "a\x00b" },
		"bad UTF-8 in a scope": func(a *storage.App) { a.Scopes = []string{"\xff"} },
	} {
		app := App(1)
		spoil(&app)
		_, err := s.CreateApp(t.Context(), app)
		require.ErrorIs(t, err, storage.ErrInvalidText, name)
	}
	for _, text := range []string{"a\x00b", "\xff"} {
		_, err := s.App(t.Context(), text)
		require.ErrorIs(t, err, storage.ErrNotFound, "nothing can be found by it")
		_, err = s.RotateFamily(t.Context(), text, text, 1, 2, Epoch, Epoch)
		require.ErrorIs(t, err, storage.ErrNotFound)
		require.ErrorIs(t, s.EndToken(t.Context(), storage.EndedToken{Kind: storage.EndedAccessToken, Key: text}), storage.ErrInvalidText)
		for _, query := range []storage.AppQuery{{OrgID: orgA}, {OrgID: orgA, Search: text}, {OrgID: orgA, ExternalID: text}} {
			query.Limit = 1
			_, total, err := s.Apps(t.Context(), query)
			require.NoError(t, err)
			require.Zero(t, total)
		}
	}
}

func appConcurrentUpdates(t *testing.T, s storage.Storage) {
	app := App(1)
	app.Scopes = nil
	create(t, s, app)
	const writers = 20
	parallel(writers, func(i int) {
		_, err := s.UpdateApp(t.Context(), app.ClientID, Epoch.Add(time.Hour), func(a *storage.App) error {
			a.Scopes = append(a.Scopes, fmt.Sprint("scope-", i))
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	got, err := s.App(t.Context(), app.ClientID)
	require.NoError(t, err)
	require.Len(t, got.Scopes, writers)
}

func appConcurrentCreation(t *testing.T, s storage.Storage) {
	const writers = 20
	errs := make([]error, writers)
	parallel(writers, func(i int) {
		app := App(i)
		app.ExternalID = "the-same"
		_, errs[i] = s.CreateApp(t.Context(), app)
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
	n, err := s.CountApps(t.Context(), orgA)
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

func parallel(n int, do func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { do(i) })
	}
	wg.Wait()
}
