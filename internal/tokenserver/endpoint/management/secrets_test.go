// SPDX-License-Identifier: Apache-2.0

package management_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

const retired = "client_secret: this secret was retired by a rotation; read the current one or leave the member out"

func (s *server) secrets(clientID string) oauth.SecretList {
	s.t.Helper()
	answer := s.call("admin", http.MethodGet, bareApps+"/"+clientID+"/secrets", "")
	require.Equal(s.t, http.StatusOK, answer.status, answer.body)
	return decode[oauth.SecretList](s.t, answer.body)
}

func (s *server) addSecret(clientID string, overlap int) oauth.Secret {
	s.t.Helper()
	answer := s.call("admin", http.MethodPost, bareApps+"/"+clientID+"/secrets", fmt.Sprintf(`{"overlap_seconds":%d}`, overlap))
	require.Equal(s.t, http.StatusCreated, answer.status, answer.body)
	return decode[oauth.Secret](s.t, answer.body)
}

func TestRotationWithAnOverlap(t *testing.T) {
	s := start(t)
	app := s.clientCredentialsApp()
	first := app.ClientSecret
	second := s.addSecret(app.ClientID, 3600)
	list := s.secrets(app.ClientID)
	require.Equal(t, app.ClientSecretID, list.Data[0].ID)
	require.Equal(t, s.clock().Add(time.Hour), *list.Data[0].ExpiresAt, "the earlier one gets an end")
	require.Nil(t, list.Data[1].ExpiresAt, "the new one has none")
	require.Empty(t, list.Data[1].ClientSecret, "the list shows no value")

	s.advance(30 * time.Minute)
	third := s.addSecret(app.ClientID, 7200)
	list = s.secrets(app.ClientID)
	require.Equal(t, s.clock().Add(30*time.Minute), *list.Data[0].ExpiresAt, "the earlier of what it had and the new end")
	require.Equal(t, s.clock().Add(2*time.Hour), *list.Data[1].ExpiresAt)

	s.advance(30*time.Minute + time.Microsecond)
	require.False(t, s.accepts(app.ClientID, first))
	require.True(t, s.accepts(app.ClientID, second.ClientSecret))
	require.True(t, s.accepts(app.ClientID, third.ClientSecret))
	require.Equal(t, 2, s.secrets(app.ClientID).Total, "a retired one is not listed")

	fourth := s.addSecret(app.ClientID, 0)
	require.Equal(t, []string{fourth.ID}, ids(s.secrets(app.ClientID)), "no overlap ends the others at once")
	require.False(t, s.accepts(app.ClientID, third.ClientSecret))
}

func ids(list oauth.SecretList) []string {
	var ids []string
	for _, secret := range list.Data {
		ids = append(ids, secret.ID)
	}
	return ids
}

func TestSecretsThatAreUsed(t *testing.T) {
	s := start(t)
	complete := s.clock().Add(-10 * time.Second)
	s.endpoint.CompleteUntil = func() time.Time { return complete }
	app := s.clientCredentialsApp()
	require.Nil(t, s.secrets(app.ClientID).Data[0].LastUsedAt)
	used := s.clock().Add(-time.Minute)
	require.NoError(t, s.store.TouchSecrets(t.Context(), map[string]time.Time{app.ClientSecretID: used}))
	list := s.secrets(app.ClientID)
	require.Equal(t, used, *list.Data[0].LastUsedAt)
	require.Equal(t, complete, list.CompleteUntil)
	require.Equal(t, app.Revision, s.call("admin", http.MethodGet, bareApps+"/"+app.ClientID, "").app(t, http.StatusOK).Revision, "use is no change")
}

func TestDeletingASecret(t *testing.T) {
	s := start(t)
	app := s.clientCredentialsApp()
	one := bareApps + "/" + app.ClientID
	second := s.addSecret(app.ClientID, 3600)
	require.Equal(t, http.StatusNoContent, s.call("admin", http.MethodDelete, one+"/secrets/"+app.ClientSecretID, "").status)
	require.False(t, s.accepts(app.ClientID, app.ClientSecret))
	require.True(t, s.accepts(app.ClientID, second.ClientSecret))
	s.call("admin", http.MethodDelete, one+"/secrets/"+app.ClientSecretID, "").refused(t, http.StatusNotFound, "no such secret")
	s.call("admin", http.MethodPatch, one, `{"client_secret":"`+app.ClientSecret+`"}`).refused(t, http.StatusBadRequest, retired)
}

func TestTheSecretInAPatch(t *testing.T) {
	s := start(t)
	app := s.clientCredentialsApp()
	one := bareApps + "/" + app.ClientID
	overlapping := s.addSecret(app.ClientID, 3600)
	before := s.call("admin", http.MethodGet, one, "").app(t, http.StatusOK)
	for _, live := range []string{app.ClientSecret, overlapping.ClientSecret, ""} {
		answer := s.call("admin", http.MethodPatch, one, `{"client_secret":"`+live+`"}`)
		require.Equal(t, before.Revision, answer.app(t, http.StatusOK).Revision, "one that is accepted changes nothing")
		require.NotContains(t, answer.body, `"client_secret":`)
	}
	for secret, message := range map[string]string{
		"fifteen letters":         "client_secret: must have 16 to 256 characters",
		strings.Repeat("x", 257):  "client_secret: must have 16 to 256 characters",
		"sixteen letters, ümlaut": "client_secret: must be printable ASCII",
	} {
		s.call("admin", http.MethodPatch, one, `{"client_secret":"`+secret+`"}`).refused(t, http.StatusBadRequest, message)
	}
	chosen := s.call("admin", http.MethodPatch, one, `{"client_secret":"my own secret of 2026"}`).app(t, http.StatusOK)
	require.Equal(t, "my own secret of 2026", chosen.ClientSecret)
	require.Equal(t, []string{chosen.ClientSecretID}, ids(s.secrets(app.ClientID)), "a new one replaces all")
	require.False(t, s.accepts(app.ClientID, app.ClientSecret))
	s.call("admin", http.MethodPatch, one, `{"client_secret":"`+overlapping.ClientSecret+`"}`).refused(t, http.StatusBadRequest, retired)

	reset := s.call("admin", http.MethodPatch, one+"?resetSecret=true", `{"client_secret":"short","client_name":"renamed"}`).app(t, http.StatusOK)
	require.Equal(t, "renamed", reset.ClientName, "the body changes other members")
	require.NotEqual(t, "short", reset.ClientSecret, "reset wins over a chosen secret")
	require.True(t, s.accepts(app.ClientID, reset.ClientSecret))
}

func TestAppsWithoutASecret(t *testing.T) {
	s := start(t)
	for _, body := range []string{
		`{"client_name":"x","grant_types":["authorization_code"],"redirect_uris":["https://a.example"],"token_endpoint_auth_method":"none"}`,
		`{"client_name":"x","grant_types":["authorization_code"],"redirect_uris":["https://a.example"],"public_client":true}`,
		`{"client_name":"x","grant_types":["client_credentials"],"token_endpoint_auth_method":"private_key_jwt"}`,
	} {
		app := s.create(body)
		require.Empty(t, app.ClientSecret)
		require.Nil(t, app.ClientSecretUpdatedAt)
		message := "an app with token_endpoint_auth_method " + app.TokenEndpointAuthMethod + " has no secret"
		one := bareApps + "/" + app.ClientID
		s.call("admin", http.MethodPost, one+"/secrets", `{"overlap_seconds":1}`).refused(t, http.StatusBadRequest, message)
		s.call("admin", http.MethodPatch, one+"?resetSecret=true", ``).refused(t, http.StatusBadRequest, "client_secret: "+message)
		require.Zero(t, s.secrets(app.ClientID).Total)
	}
	t.Run("becoming public ends the secrets", func(t *testing.T) {
		app := s.create(userApp)
		public := s.call("admin", http.MethodPatch, bareApps+"/"+app.ClientID, `{"token_endpoint_auth_method":"none"}`).app(t, http.StatusOK)
		require.Equal(t, "none", public.TokenEndpointAuthMethod)
		require.False(t, s.accepts(app.ClientID, app.ClientSecret))
	})
}

func TestSecretLimits(t *testing.T) {
	s := start(t)
	app := s.clientCredentialsApp()
	one := bareApps + "/" + app.ClientID + "/secrets"
	for body, message := range map[string]string{
		`{}`:                           "overlap_seconds: is required: how long the earlier secrets stay valid at most",
		`{"overlapSeconds":1}`:         "the body: unknown member overlapSeconds: it is called overlap_seconds",
		`{"overlap_seconds":"1"}`:      "overlap_seconds: expected a number, got a string",
		`{"overlap_seconds":-1}`:       "overlap_seconds: must be a whole number from 0 to 31536000",
		`{"overlap_seconds":31536001}`: "overlap_seconds: must be a whole number from 0 to 31536000",
	} {
		s.call("admin", http.MethodPost, one, body).refused(t, http.StatusBadRequest, message)
	}
	// The records are made at once; a request for each would only take longer.
	fill := func(n int, ends time.Time) {
		_, err := s.store.UpdateApp(t.Context(), app.ClientID, s.clock(), func(app *storage.App) error {
			for i := range n {
				id := fmt.Sprintf("%s-%d", ends, i)
				app.Secrets = append(app.Secrets, storage.Secret{ID: id, Hash: hasher.Hash(id), CreatedAt: s.clock(), ExpiresAt: ends})
			}
			return nil
		})
		require.NoError(t, err)
	}
	fill(99, s.clock().Add(time.Hour))
	s.call("admin", http.MethodPost, one, `{"overlap_seconds":3600}`).
		refused(t, http.StatusBadRequest, "the app has 100 live secrets, the most possible; delete those that are not used")
	fill(50, s.clock().Add(-time.Hour))
	s.advance(time.Hour)
	s.addSecret(app.ClientID, 0)
	s.addSecret(app.ClientID, 0)
	stored, err := s.store.App(t.Context(), app.ClientID)
	require.NoError(t, err)
	kept := len(stored.Secrets)
	require.Equal(t, 101, kept, "of the retired ones a hundred are kept")
	require.Equal(t, 1, s.secrets(app.ClientID).Total)
}

func TestRecoverableSecrets(t *testing.T) {
	s := start(t, recoverable)
	s.client("reader", orgA, oauth.ScopeReadConnectedApps)
	app := s.clientCredentialsApp()
	one := bareApps + "/" + app.ClientID
	read := s.call("admin", http.MethodGet, one, "").app(t, http.StatusOK)
	require.Equal(t, app.ClientSecret, read.ClientSecret)
	require.Equal(t, app.ClientSecretID, read.ClientSecretID)
	require.NotContains(t, s.call("reader", http.MethodGet, one, "").body, `"client_secret":`, "who only reads sees none")
	require.NotContains(t, s.call("admin", http.MethodGet, bareApps, "").body, `"client_secret":`, "a list shows none")
	second := s.addSecret(app.ClientID, 3600)
	require.Equal(t, second.ClientSecret, s.call("admin", http.MethodGet, one, "").app(t, http.StatusOK).ClientSecret, "the newest is shown")
	// Terraform writes back what it read.
	same := s.call("admin", http.MethodPatch, one, `{"client_secret":"`+second.ClientSecret+`"}`).app(t, http.StatusOK)
	require.Equal(t, second.ClientSecret, same.ClientSecret)
	require.True(t, s.accepts(app.ClientID, app.ClientSecret), "and no other secret ends")
}

func TestParallelCreationsWithOneExternalID(t *testing.T) {
	s := start(t)
	const parallel = 20
	body := `{"client_name":"x","grant_types":["client_credentials"],"external_id":"cluster/ns/name/uid"}`
	answers := make([]answered, parallel)
	var group sync.WaitGroup
	for i := range answers {
		group.Go(func() { answers[i] = s.call("admin", http.MethodPost, bareApps, body) })
	}
	group.Wait()
	created := 0
	id := ""
	secretIDs := map[string]bool{}
	for _, answer := range answers {
		if answer.status == http.StatusCreated {
			created++
		} else {
			require.Equal(t, http.StatusOK, answer.status, answer.body)
		}
		app := decode[oauth.ConnectedApp](t, answer.body)
		require.True(t, id == "" || id == app.ClientID, "one app for all")
		id = app.ClientID
		require.False(t, secretIDs[app.ClientSecretID], "everybody has a secret of their own")
		secretIDs[app.ClientSecretID] = true
		require.True(t, s.accepts(app.ClientID, app.ClientSecret))
	}
	require.Equal(t, 1, created)
	require.Equal(t, 1, decode[oauth.List[oauth.ConnectedApp]](t, s.call("admin", http.MethodGet, bareApps, "").body).Total)
}

func TestExternalID(t *testing.T) {
	s := start(t)
	body := `{"client_name":"first","grant_types":["client_credentials"],"external_id":"e"}`
	first := s.create(body)
	again := s.call("admin", http.MethodPost, bareApps, `{"client_name":"second","grant_types":["password"],"external_id":"e"}`).app(t, http.StatusOK)
	require.Equal(t, first.ClientID, again.ClientID)
	require.Equal(t, "first", again.ClientName, "nothing else of the body is applied")
	require.True(t, s.accepts(first.ClientID, first.ClientSecret), "nothing is invalidated")
	require.True(t, s.accepts(first.ClientID, again.ClientSecret))
	foreign := s.call("adminB", http.MethodPost, bareApps, body).app(t, http.StatusCreated)
	require.NotEqual(t, first.ClientID, foreign.ClientID, "it is unique within an organization")

	s.create(`{"client_name":"other","grant_types":["client_credentials"],"external_id":"ee"}`)
	list := decode[oauth.List[oauth.ConnectedApp]](t, s.call("admin", http.MethodGet, bareApps+"?external_id=e", "").body)
	require.Equal(t, 1, list.Total, "the filter is exact")
	require.Equal(t, first.ClientID, list.Data[0].ClientID)

	one := bareApps + "/" + first.ClientID
	s.call("admin", http.MethodPatch, one, `{"external_id":"f"}`).refused(t, http.StatusBadRequest, "external_id: is set on creation only")
	require.Equal(t, http.StatusOK, s.call("admin", http.MethodPatch, one, `{"external_id":"e"}`).status)
	require.Equal(t, http.StatusNoContent, s.call("admin", http.MethodDelete, one, "").status)
	require.NotEqual(t, first.ClientID, s.create(body).ClientID, "deleting the app frees it")
}

func TestRestore(t *testing.T) {
	s := start(t)
	const secret = "cas_the former secret of the app"
	restore := func(id string) string {
		return `{"client_name":"x","grant_types":["client_credentials"],"client_id":"` + id + `","client_secret":"` + secret + `"}`
	}
	const id = "00112233445566778899aabbccddeeff"
	app := s.create(restore(id))
	require.Equal(t, id, app.ClientID)
	require.Equal(t, secret, app.ClientSecret)
	require.True(t, s.accepts(id, secret))
	taken := "client_id: " + id + " is in use or belonged to another organization"
	s.call("admin", http.MethodPost, bareApps, restore(id)).refused(t, http.StatusConflict, taken)
	s.call("adminB", http.MethodPost, bareApps, restore(id)).refused(t, http.StatusConflict, taken)

	require.Equal(t, http.StatusNoContent, s.call("admin", http.MethodDelete, bareApps+"/"+id, "").status)
	s.call("adminB", http.MethodPost, bareApps, restore(id)).refused(t, http.StatusConflict, taken)
	back := s.create(restore(id))
	require.NotEqual(t, app.Revision, back.Revision)
	epoch, err := s.store.Epoch(t.Context(), storage.EpochApp, id)
	require.NoError(t, err)
	require.Positive(t, epoch.Value, "tokens of the deleted app stay dead")

	const form = "client_id: must be 1 to 64 letters, digits, dots, hyphens or underscores, the first of them a letter or digit"
	for _, bad := range []string{"..", "a/b", "a b", "https://app.example.com", strings.Repeat("x", 65)} {
		s.call("admin", http.MethodPost, bareApps, restore(bad)).refused(t, http.StatusBadRequest, form)
	}
	s.call("admin", http.MethodPost, bareApps, strings.Replace(restore(strings.Repeat("0", 32)), secret, "short", 1)).
		refused(t, http.StatusBadRequest, "client_secret: must have 16 to 256 characters")
	other := s.call("user", http.MethodPost, bareApps, restore(strings.Repeat("1", 32))).app(t, http.StatusCreated)
	require.NotEqual(t, strings.Repeat("1", 32), other.ClientID, "without manage:orgconnapps id and secret are assigned")
	require.NotEqual(t, secret, other.ClientSecret)
	require.NotEqual(t, strings.Repeat("2", 32), s.create(`{"client_name":"x","grant_types":["password"],"client_id":"`+strings.Repeat("2", 32)+`"}`).ClientID)
}

// An app of another server keeps its id, unless that is or may be taken for somebody
// else's.
func TestAnAppComesUnderTheIDItHadElsewhere(t *testing.T) {
	s := start(t)
	restore := func(id string) string {
		return `{"client_name":"x","grant_types":["client_credentials"],"client_id":"` + id + `","client_secret":"the secret it had elsewhere"}`
	}
	for _, id := range []string{"web-shop", "storefront.spa", "0f9d4a35-6a1c-4a57-9d13-6a7f8b2c1d01"} {
		require.Equal(t, id, s.create(restore(id)).ClientID)
		require.True(t, s.accepts(id, "the secret it had elsewhere"))
		require.Equal(t, http.StatusOK, s.call("admin", http.MethodGet, bareApps+"/"+id, "").status)
	}
	asserted, err := s.store.PutUser(t.Context(), storage.User{ID: "c7f1a1de-0001-4000-8000-000000000001", OrgID: orgA, IDProviderID: "corp", Username: "ada"}, s.clock())
	require.NoError(t, err)
	for _, id := range []string{ownerA, asserted.ID} {
		s.call("admin", http.MethodPost, bareApps, restore(id)).refused(t, http.StatusConflict, "client_id: "+id+" is in use or belonged to another organization")
	}
	s.call("admin", http.MethodPost, bareApps, restore("login")).refused(t, http.StatusConflict, "client_id: login is a name of the server's own")
}
