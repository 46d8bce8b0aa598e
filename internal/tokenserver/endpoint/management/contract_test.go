// SPDX-License-Identifier: Apache-2.0

package management_test

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
)

const (
	userApp = `{"client_name":"GitProxy","grant_types":["refresh_token","authorization_code"],"redirect_uris":["https://example.com/"],` +
		`"scopes":["profile","offline_access"],"public_keys":[],"audience":"internal"}`
	invalidToken = "the access token is missing, unknown or has expired"
)

// TestEveryOperation walks each method of each path in both forms.
func TestEveryOperation(t *testing.T) {
	s := start(t)
	for _, base := range []string{bareApps, orgApps(orgA)} {
		t.Run(strings.TrimSuffix(strings.TrimPrefix(base, "/accounts/api/"), "/connectedApplications"), func(t *testing.T) {
			created := s.call("admin", http.MethodPost, base, userApp)
			app := created.app(t, http.StatusCreated)
			require.Regexp(t, "^[0-9a-f]{32}$", app.ClientID)
			require.Regexp(t, "^cas_[0-9A-Za-z]{43}$", app.ClientSecret)
			require.NotEmpty(t, app.ClientSecretID)
			require.Equal(t, orgApps(orgA)+"/"+app.ClientID, created.header.Get("Location"))
			one := base + "/" + app.ClientID

			list := s.call("admin", http.MethodGet, base, "")
			require.Equal(t, http.StatusOK, list.status)
			require.NotContains(t, list.body, "client_secret\"", "a list shows no secret")
			require.NotZero(t, decode[oauth.List[oauth.ConnectedApp]](t, list.body).Total)

			read := s.call("admin", http.MethodGet, one+"?includeUsage=true", "")
			require.NotContains(t, read.body, `"client_secret":`, "GET leaves the secret out, it does not mask it")
			require.Equal(t, app.ClientID, read.app(t, http.StatusOK).ClientID)

			require.Equal(t, "Renamed", s.call("admin", http.MethodPatch, one, `{"client_name":"Renamed"}`).app(t, http.StatusOK).ClientName)
			reset := s.call("admin", http.MethodPatch, one+"?resetSecret=true", `{}`).app(t, http.StatusOK)
			require.NotEqual(t, app.ClientSecret, reset.ClientSecret)
			require.True(t, s.accepts(app.ClientID, reset.ClientSecret))
			require.False(t, s.accepts(app.ClientID, app.ClientSecret), "resetSecret ends every earlier secret at once")

			for _, change := range []struct{ method, body, scopes string }{
				{http.MethodPut, `{"scopes":[{"scope":"read:full"},{"scope":"profile","context_params":{}}]}`, "read:full profile"},
				{http.MethodPatch, `{"scopes":[{"scope":"openid"},{"scope":"profile"}]}`, "read:full profile openid"},
				{http.MethodDelete, `{"scopes":[{"scope":"read:full"},{"scope":"absent"}]}`, "profile openid"},
				{http.MethodPut, `{}`, ""},
			} {
				answer := s.call("admin", change.method, one+"/scopes", change.body)
				require.Equal(t, http.StatusNoContent, answer.status, answer.body)
				require.Empty(t, answer.body)
				require.Equal(t, change.scopes, oauth.JoinScopes(s.call("admin", http.MethodGet, one, "").app(t, http.StatusOK).Scopes))
			}
			scopes := s.call("admin", http.MethodGet, one+"/scopes", "")
			require.Equal(t, http.StatusOK, scopes.status)
			require.JSONEq(t, `{"data":[],"total":0}`, scopes.body, "profile is not added to an app that acts for a user")

			made := s.call("admin", http.MethodPost, one+"/secrets", `{"overlap_seconds":60}`)
			require.Equal(t, http.StatusCreated, made.status)
			secret := decode[oauth.Secret](t, made.body)
			require.Equal(t, secret.ID, secret.ClientSecretID)
			require.True(t, s.accepts(app.ClientID, secret.ClientSecret))
			require.Equal(t, 2, decode[oauth.SecretList](t, s.call("admin", http.MethodGet, one+"/secrets", "").body).Total)
			require.Equal(t, http.StatusNoContent, s.call("admin", http.MethodDelete, one+"/secrets/"+secret.ID, "").status)

			gone := s.call("admin", http.MethodDelete, one, "")
			require.Equal(t, http.StatusNoContent, gone.status)
			require.Empty(t, gone.body)
			for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodDelete} {
				s.call("admin", method, one, "").refused(t, http.StatusNotFound, "no such connected app")
			}
		})
	}
}

func TestTheAppOnTheWire(t *testing.T) {
	s := start(t)
	s.create(`{"client_name":"first","grant_types":["client_credentials"]}`)
	key := certificate
	body, err := json.Marshal(map[string]any{
		"client_name": "Everything", "grant_types": []string{"authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:jwt-bearer"},
		"redirect_uris": []string{"https://example.com/", "http://127.0.0.1/cb"}, "scopes": []any{"profile", map[string]any{"scope": "offline_access"}},
		"public_keys": []string{key}, "audience": "internal", "client_uri": "https://example.com/about", "policy_uri": nil, "enabled": false,
		"generate_iss_claim_without_token": true, "idprovider_id": "idp-a", "token_endpoint_auth_method": "client_secret_basic",
		"access_token_format": "opaque", "post_logout_redirect_uris": []string{"https://example.com/bye"}, "identity_providers": []string{"idp-a"},
		"skip_user_consent": true, "assertions_without_expiry": true, "refresh_grace_seconds": 10,
		"external_id":          "cluster/a/b/1",
		"federated_identities": []any{map[string]string{"issuer_name": "prod", "subject": "system:serviceaccount:payments:gitproxy"}},
	})
	require.NoError(t, err)
	full := s.call("user", http.MethodPost, bareApps, string(body)).app(t, http.StatusCreated)
	minimal := s.create(`{"client_name":"Minimal","grant_types":["client_credentials"]}`)
	for name, id := range map[string]string{"full": full.ClientID, "minimal": minimal.ClientID} {
		var got map[string]any
		require.NoError(t, json.Unmarshal([]byte(s.call("user", http.MethodGet, bareApps+"/"+id, "").body), &got))
		require.Regexp(t, "^[0-9a-f]{32}$", got["client_id"])
		require.NotEmpty(t, got["revision"])
		delete(got, "client_id")
		delete(got, "revision")
		text, err := json.MarshalIndent(got, "", "  ")
		require.NoError(t, err)
		golden, err := os.ReadFile("testdata/app-" + name + ".json")
		if os.Getenv("UPDATE_GOLDEN") != "" {
			require.NoError(t, os.WriteFile("testdata/app-"+name+".json", append(text, '\n'), 0o644))
			continue
		}
		require.NoError(t, err)
		require.Equal(t, string(golden), string(text)+"\n")
	}
}

func TestTheCatalogIsABareArray(t *testing.T) {
	s := start(t)
	s.client("nobody", orgA)
	answer := s.call("nobody", http.MethodGet, "/accounts/api/cs/scopes", "")
	require.Equal(t, http.StatusOK, answer.status)
	entries := decode[[]map[string]any](t, answer.body)
	require.Greater(t, len(entries), 114)
	require.Equal(t, map[string]any{
		"scope": "full", "displayName": "Full access", "description": "Do everything that the signed-in user may do.", "productLabel": "General", "internal": false,
	}, entries[0])
	s.call("", http.MethodGet, "/accounts/api/cs/scopes", "").refused(t, http.StatusUnauthorized, invalidToken)
}

// TestTheCommunityProvider repeats what that Terraform provider sends.
func TestTheCommunityProvider(t *testing.T) {
	s := start(t)
	read := func(id string) oauth.ConnectedApp {
		return s.call("admin", http.MethodGet, orgApps(orgA)+"/"+id, "").app(t, http.StatusOK)
	}
	t.Run("an app of its own behalf keeps its scopes through every apply", func(t *testing.T) {
		app := s.call("admin", http.MethodPost, orgApps(orgA),
			`{"audience":"internal","client_name":"ci","grant_types":["client_credentials"],"public_keys":[],"redirect_uris":[],"scopes":[]}`).app(t, http.StatusCreated)
		one := orgApps(orgA) + "/" + app.ClientID
		scopes := `{"scopes":[{"context_params":{"envId":"` + envA + `","org":"` + orgA + `"},"scope":"read:applications"},{"context_params":{},"scope":"manage:store"}]}`
		require.Equal(t, http.StatusNoContent, s.call("admin", http.MethodPut, one+"/scopes", scopes).status)
		before := read(app.ClientID)
		require.Equal(t, orgA, before.OrgID)
		require.Equal(t, orgA, before.OwnerOrgID)

		patch, err := json.Marshal(map[string]any{
			"audience": "internal", "client_name": "ci", "client_secret": app.ClientSecret, "enabled": true, "grant_types": []string{"client_credentials"},
			"owner_user_id": before.OwnerUserID, "public_keys": []string{}, "redirect_uris": []string{}, "scopes": []string{},
		})
		require.NoError(t, err)
		require.Equal(t, before.Revision, s.call("admin", http.MethodPatch, one, string(patch)).app(t, http.StatusOK).Revision, "the same again is no change")
		require.True(t, s.accepts(app.ClientID, app.ClientSecret))

		listed := s.call("admin", http.MethodGet, one+"/scopes?limit=500", "")
		require.JSONEq(t, `{"total":3,"data":[{"scope":"profile","context_params":{}},
			{"scope":"read:applications","context_params":{"org":"`+orgA+`","envId":"`+envA+`"}},{"scope":"manage:store","context_params":{}}]}`, listed.body)

		require.Equal(t, http.StatusNoContent, s.call("admin", http.MethodPut, one+"/scopes", `{}`).status, "removing all is the body {}")
		require.JSONEq(t, `{"total":1,"data":[{"scope":"profile","context_params":{}}]}`, s.call("admin", http.MethodGet, one+"/scopes?limit=500", "").body)
	})
	t.Run("an app for users keeps order and keys byte for byte", func(t *testing.T) {
		body, err := json.Marshal(map[string]any{
			"client_name": "web", "grant_types": []string{"refresh_token", "authorization_code"}, "audience": "everyone",
			"public_keys": []string{strings.ReplaceAll(certificate, "\n", "\r\n")}, "redirect_uris": []string{"https://b.example", "https://a.example/"},
			"scopes": []string{"profile", "full", "offline_access"}, "client_uri": "https://a.example",
		})
		require.NoError(t, err)
		app := s.call("admin", http.MethodPost, orgApps(orgA), string(body)).app(t, http.StatusCreated)
		got := read(app.ClientID)
		require.Equal(t, []string{"refresh_token", "authorization_code"}, got.GrantTypes)
		require.Equal(t, []string{"https://b.example", "https://a.example/"}, got.RedirectURIs)
		require.Equal(t, []string{"profile", "full", "offline_access"}, got.Scopes)
		require.Equal(t, []string{strings.ReplaceAll(certificate, "\n", "\r\n")}, got.PublicKeys)
	})
	t.Run("ownership moves and stays", func(t *testing.T) {
		app := s.create(userApp)
		one := bareApps + "/" + app.ClientID
		require.Equal(t, ownerA, app.OwnerUserID, "an app that calls has no owner here, so the organization's owner it is")
		require.Equal(t, otherA, s.call("admin", http.MethodPatch, one, `{"owner_user_id":"`+otherA+`"}`).app(t, http.StatusOK).OwnerUserID)
		for _, id := range []string{ownerB, disabledA, "nobody"} {
			s.call("admin", http.MethodPatch, one, `{"owner_user_id":"`+id+`"}`).
				refused(t, http.StatusBadRequest, "owner_user_id: "+id+" is no active user of this organization")
		}
	})
}

// TestTheOfficialProvider: PATCH sends the difference, DELETE has a body.
func TestTheOfficialProvider(t *testing.T) {
	s := start(t)
	app := s.clientCredentialsApp()
	one := bareApps + "/" + app.ClientID + "/scopes"
	scope := func(name, context string) string {
		return `{"scope":"` + name + `","context_params":{` + context + `}}`
	}
	a := scope("read:applications", `"org":"`+orgA+`"`)
	b := scope("read:applications", `"org":"`+orgA+`","envId":"`+envA+`"`)
	for range 2 {
		require.Equal(t, http.StatusNoContent, s.call("admin", http.MethodPatch, one, `{"scopes":[`+a+`,`+b+`]}`).status)
		require.Len(t, s.scopes(app.ClientID), 3, "adding again adds nothing")
	}
	require.Equal(t, http.StatusNoContent, s.call("admin", http.MethodDelete, one, `{"scopes":[`+a+`,`+scope("profile", "")+`]}`).status)
	require.Equal(t, []oauth.ContextScope{
		{Scope: "profile"}, {Scope: "read:applications", ContextParams: oauth.ContextParams{Org: orgA, EnvID: envA}},
	}, s.scopes(app.ClientID), "only the exact match goes, and profile stays")
}

func TestStringsAndObjectsInScopesOfANewApp(t *testing.T) {
	s := start(t)
	app := s.create(`{"client_name":"x","grant_types":["client_credentials"],"scopes":["profile","manage:store",{"scope":"view:environment","context_params":{"org":"` + orgA + `"}}]}`)
	require.Equal(t, []string{"profile", "manage:store"}, app.Scopes, "strings are answered")
	require.Equal(t, []oauth.ContextScope{
		{Scope: "profile"}, {Scope: "manage:store"}, {Scope: "view:environment", ContextParams: oauth.ContextParams{Org: orgA}},
	}, s.scopes(app.ClientID))
}

// certificate is fixed for the golden file; its key is of no use.
var certificate = mustRead("testdata/certificate.pem")

func mustRead(name string) string {
	data, err := os.ReadFile(name)
	if err != nil {
		panic(err)
	}
	return string(data)
}
