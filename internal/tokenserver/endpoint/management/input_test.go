// SPDX-License-Identifier: Apache-2.0

package management_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

func TestBadInput(t *testing.T) {
	s := start(t)
	app := s.clientCredentialsApp()
	one := bareApps + "/" + app.ClientID
	web := bareApps + "/" + s.create(userApp).ClientID
	for name, test := range map[string]struct {
		method, path, body string
		status             int
		message            string
	}{
		"malformed JSON":                    {"POST", bareApps, `{"client_name":`, 400, "malformed JSON at line 1, column 16: unexpected end of JSON input"},
		"an array as body":                  {"POST", bareApps, `[]`, 400, "the body: it must be a JSON object, got an array"},
		"no body":                           {"POST", bareApps, ``, 400, "client_name: is required"},
		"no grant type":                     {"POST", bareApps, `{"client_name":"x"}`, 400, "grant_types: is required and must not be empty"},
		"an empty list of grant types":      {"PATCH", one, `{"grant_types":[]}`, 400, "grant_types: is required and must not be empty"},
		"camel case":                        {"POST", bareApps, `{"clientName":"x","grantTypes":["password"]}`, 400, "unknown member clientName: it is called client_name"},
		"client_credentials with another":   {"POST", bareApps, `{"client_name":"x","grant_types":["client_credentials","password"]}`, 400, "grant_types: client_credentials must be the only grant type of an app; register another app for the others"},
		"refresh_token alone":               {"POST", bareApps, `{"client_name":"x","grant_types":["refresh_token"]}`, 400, "grant_types: refresh_token needs the grant type that gives the first token, such as authorization_code"},
		"a public client on its own behalf": {"POST", bareApps, `{"client_name":"x","grant_types":["client_credentials"],"token_endpoint_auth_method":"none"}`, 400, "token_endpoint_auth_method: an app with client_credentials must authenticate; none is not possible"},
		"a scope that needs a user":         {"PUT", one + "/scopes", `{"scopes":[{"scope":"openid"}]}`, 400, "scopes: openid is for apps that act for a user, not for client_credentials"},
		"a context for an app for users":    {"PUT", web + "/scopes", `{"scopes":[{"scope":"a"},{"scope":"b","context_params":{"org":"` + orgA + `"}}]}`, 400, "scopes[1]: an app that acts for a user takes scopes without a context; only client_credentials apps have contexts"},
		"an unknown environment":            {"PUT", one + "/scopes", `{"scopes":[{"scope":"a","context_params":{"envId":"` + envB + `"}}]}`, 400, "scopes: a: organization " + orgA + " has no environment " + envB},
		"an unknown organization":           {"PATCH", one + "/scopes", `{"scopes":[{"scope":"a","context_params":{"org":"x"}}]}`, 400, "scopes: a: no organization x"},
		"scopes that are no array":          {"PUT", one + "/scopes", `{"scopes":"a"}`, 400, "scopes: expected an array of strings or objects, got a string"},
		"a misspelt list":                   {"DELETE", one + "/scopes", `{"Scopes":[]}`, 400, "the body: unknown member Scopes: it is called scopes"},
		"an unknown identity provider":      {"PATCH", web, `{"identity_providers":["idp-a","idp-b"]}`, 400, "identity_providers[1]: the organization has no identity provider idp-b"},
		"another client id":                 {"PATCH", one, `{"client_id":"x"}`, 400, "client_id: cannot be changed"},
		"an unknown owner":                  {"POST", bareApps, `{"client_name":"x","grant_types":["password"],"owner_user_id":"x"}`, 400, "owner_user_id: x is no active user of this organization"},
		"resetSecret that is no boolean":    {"PATCH", one + "?resetSecret=yes", `{}`, 400, "query parameter resetSecret: must be true or false"},
		"includeUsage that is no boolean":   {"GET", one + "?includeUsage=2", ``, 400, "query parameter includeUsage: must be true or false"},
		"a limit above the maximum":         {"GET", bareApps + "?limit=501", ``, 400, "query parameter limit: must be a whole number from 1 to 500"},
		"a limit of zero":                   {"GET", bareApps + "?limit=0", ``, 400, "query parameter limit: must be a whole number from 1 to 500"},
		"an offset below zero":              {"GET", bareApps + "?offset=-1", ``, 400, "query parameter offset: must be a whole number from 0 to 2147483647"},
		"an offset that is no number":       {"GET", one + "/scopes?offset=x", ``, 400, "query parameter offset: must be a whole number from 0 to 2147483647"},
		"a search with NUL":                 {"GET", bareApps + "?search=%00", ``, 400, "query parameter search: contains a control character (U+0000)"},
		"a search that is not UTF-8":        {"GET", bareApps + "?search=%ff", ``, 400, "query parameter search: is not valid UTF-8"},
		"a filter twice":                    {"GET", bareApps + "?search=a&search=b", ``, 400, "query parameter search: is given more than once"},
		"an unknown app":                    {"GET", bareApps + "/" + strings.Repeat("0", 32), ``, 404, "no such connected app"},
		"an id with NUL":                    {"GET", bareApps + "/%00", ``, 404, "no such connected app"},
		"an id that is not UTF-8":           {"DELETE", bareApps + "/%ff", ``, 404, "no such connected app"},
		"a very long id":                    {"GET", bareApps + "/" + strings.Repeat("0", 2000), ``, 404, "no such connected app"},
		"an unknown secret":                 {"DELETE", one + "/secrets/x", ``, 404, "no such secret"},
		"another method on the collection":  {"PUT", bareApps, `{}`, 405, "this method is not possible here; use GET, POST"},
		"another method on the app":         {"POST", one, `{}`, 405, "this method is not possible here; use DELETE, GET, PATCH"},
		"a body of more than 1 MiB":         {"POST", bareApps, `{"x":"` + strings.Repeat("x", 1<<20) + `"}`, 413, "the body is longer than 1024 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			s.call("admin", test.method, test.path, test.body).refused(t, test.status, test.message)
		})
	}
	require.Equal(t, app.Revision, s.call("admin", http.MethodGet, one, "").app(t, http.StatusOK).Revision, "nothing of it was applied")
	require.Equal(t, "GET, POST", s.call("admin", http.MethodPut, bareApps, "").header.Get("Allow"))
}

func TestContentTypes(t *testing.T) {
	s := start(t)
	for contentType, want := range map[string]int{
		"": 201, "application/json": 201, "application/json;charset=UTF-8": 201, "application/merge-patch+json": 201,
		"application/json; charset=\"utf8\"": 201, "application/json; charset=latin1": 415,
		"application/x-www-form-urlencoded": 415, "text/plain": 415, "multipart/form-data; boundary=x": 415, "json": 415, ";": 415,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+bareApps, strings.NewReader(userApp))
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer admin")
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		answer := s.send(r)
		require.Equal(t, want, answer.status, "%q: %s", contentType, answer.body)
		if want == http.StatusUnsupportedMediaType {
			answer.refused(t, want, "the body must be JSON: send Content-Type application/json")
		}
	}
}

func TestAnUnauthorizedBodyIsNotRead(t *testing.T) {
	s := start(t)
	s.client("reader", orgA, oauth.ScopeReadConnectedApps)
	for _, caller := range []string{"", "reader"} {
		require.Equal(t, http.StatusUnauthorized, s.call(caller, http.MethodPost, bareApps, strings.Repeat("x", 2<<20)).status)
	}
}

func TestLimits(t *testing.T) {
	s := start(t)
	t.Run("a thousand scopes and no more", func(t *testing.T) {
		app := s.clientCredentialsApp()
		one := bareApps + "/" + app.ClientID + "/scopes"
		var scopes []string
		for i := range 1000 {
			scopes = append(scopes, fmt.Sprintf(`{"scope":"s:%d"}`, i))
		}
		require.Equal(t, http.StatusNoContent, s.call("admin", http.MethodPut, one, `{"scopes":[`+strings.Join(scopes, ",")+`]}`).status)
		s.call("admin", http.MethodPatch, one, `{"scopes":[{"scope":"one:more"}]}`).refused(t, http.StatusBadRequest, "scopes: an app has at most 1000, this would be 1001")
		page := decode[oauth.List[oauth.ContextScope]](t, s.call("admin", http.MethodGet, one+"?offset=999&limit=500", "").body)
		require.Equal(t, 1001, page.Total)
		require.Equal(t, []oauth.ContextScope{{Scope: "s:998"}, {Scope: "s:999"}}, page.Data)
		require.JSONEq(t, `{"data":[],"total":1001}`, s.call("admin", http.MethodGet, one+"?offset=5000", "").body)
	})
	t.Run("a hundred thousand apps and no more", func(t *testing.T) {
		s := start(t)
		s.endpoint.Apps = full{s.endpoint.Apps}
		s.call("admin", http.MethodPost, bareApps, userApp).
			refused(t, http.StatusBadRequest, "the organization has 100000 apps, the most possible; delete those that are not used")
	})
}

// appRole is storage.Apps, embedded under a name that is not its method's.
type appRole interface{ storage.Apps }

// full is a storage that holds as many apps as an organization may have.
type full struct{ appRole }

func (full) CountApps(context.Context, string) (int, error) { return 100_000, nil }

// broken is a storage that has gone away.
type broken struct{ appRole }

func (broken) Apps(context.Context, storage.AppQuery) ([]storage.App, int, error) {
	return nil, 0, fmt.Errorf("disk on fire: %w", storage.ErrUnavailable)
}

func (broken) App(context.Context, string) (storage.App, error) {
	return storage.App{}, fmt.Errorf("disk on fire: %w", storage.ErrUnavailable)
}

func (broken) AppByExternalID(context.Context, string, string) (storage.App, error) {
	return storage.App{}, fmt.Errorf("disk on fire: %w", storage.ErrUnavailable)
}

func TestAStorageThatDoesNotAnswer(t *testing.T) {
	s := start(t)
	s.endpoint.Apps = broken{s.endpoint.Apps}
	for _, op := range []struct{ method, path, body string }{
		{"GET", bareApps, ""}, {"GET", bareApps + "/x", ""}, {"DELETE", bareApps + "/x", ""}, {"PATCH", bareApps + "/x", "{}"},
		{"POST", bareApps, `{"client_name":"x","grant_types":["password"],"external_id":"e"}`},
	} {
		answer := s.call("admin", op.method, op.path, op.body)
		answer.refused(t, http.StatusServiceUnavailable, "the storage of the server does not answer, try again")
		require.Equal(t, "2", answer.header.Get("Retry-After"))
	}
	require.Contains(t, s.log.String(), "disk on fire", "the cause is in the log")
}

func TestAppsOfTheConfiguration(t *testing.T) {
	s := start(t)
	config := storage.App{
		ClientID: "connectedapps-manager", OrgID: orgA, Name: "Administrator", GrantTypes: []string{oauth.GrantClientCredentials}, Enabled: true,
		ContextScopes: []storage.ContextScope{{Scope: oauth.ScopeManageConnApps}}, Config: "adminClient", CreatedAt: s.clock(), UpdatedAt: s.clock(),
		TokenEndpointAuthMethod: oauth.AuthMethodSecretPost, Audience: oauth.AudienceInternal, AccessTokenFormat: "jwt",
	}
	_, err := s.store.CreateApp(t.Context(), config)
	require.NoError(t, err)
	one := bareApps + "/" + config.ClientID
	require.Equal(t, config.Name, s.call("user", http.MethodGet, one, "").app(t, http.StatusOK).ClientName, "it can be looked at")
	message := "the app connectedapps-manager comes from the server's configuration; change it there"
	for _, op := range []struct{ method, path, body string }{
		{"PATCH", one, `{"client_name":"x"}`}, {"PATCH", one + "?resetSecret=true", `{}`}, {"DELETE", one, ""}, {"PUT", one + "/scopes", "{}"},
		{"POST", one + "/secrets", `{"overlap_seconds":0}`}, {"DELETE", one + "/secrets/x", ""},
	} {
		s.call("user", op.method, op.path, op.body).refused(t, http.StatusConflict, message)
	}
	require.JSONEq(t, `{"data":[],"total":0}`, s.call("user", http.MethodGet, bareApps, "").body, "it is not listed")
}

// TestPaging: whatever the page size, the pages are the list, in the order of
// creation.
func TestPaging(t *testing.T) {
	s := start(t)
	const apps = 60
	for i := range apps {
		s.create(fmt.Sprintf(`{"client_name":"App %d of %s","grant_types":["client_credentials"]}`, i, []string{"crimson", "Blue_1", "100%"}[i%3]))
		s.advance(time.Duration(i%2) * time.Second) // pairs share a time
	}
	list := func(query string) oauth.List[oauth.ConnectedApp] {
		answer := s.call("admin", http.MethodGet, bareApps+"?"+query, "")
		require.Equal(t, http.StatusOK, answer.status, answer.body)
		return decode[oauth.List[oauth.ConnectedApp]](t, answer.body)
	}
	all := list("limit=500").Data
	require.Len(t, all, apps)
	require.True(t, slices.IsSortedFunc(all, func(a, b oauth.ConnectedApp) int {
		if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(a.ClientID, b.ClientID)
	}))
	require.Len(t, list("").Data, 25, "the default page")
	require.Equal(t, apps, list("").Total)
	for search, want := range map[string]int{"CRIMSON": 20, "blue_1": 20, "blue%251": 0, "100%25": 20, "App+5": 11, "client_credentials": apps, "nothing": 0, all[7].ClientID: 1} {
		require.Equal(t, want, list("limit=500&search="+search).Total, search)
	}
	searches := map[string]oauth.List[oauth.ConnectedApp]{}
	for _, search := range []string{"", "crimson", "BLUE"} {
		searches[search] = list("limit=500&search=" + search)
	}
	rapid.Check(t, func(r *rapid.T) {
		limit := rapid.IntRange(15, 70).Draw(r, "limit")
		search := rapid.SampledFrom([]string{"", "crimson", "BLUE"}).Draw(r, "search")
		whole := searches[search]
		var paged []oauth.ConnectedApp
		for {
			page := list(fmt.Sprintf("limit=%d&offset=%d&search=%s", limit, len(paged), search))
			require.Equal(r, whole.Total, page.Total, "total counts all, not the page")
			paged = append(paged, page.Data...)
			if len(page.Data) < limit {
				break
			}
		}
		require.Equal(r, whole.Data, paged)
	})
}

func TestTheAuditLog(t *testing.T) {
	s := start(t)
	app := s.create(`{"client_name":"audited","grant_types":["client_credentials"]}`)
	one := bareApps + "/" + app.ClientID
	s.call("user", http.MethodPatch, one, `{"client_name":"audited","client_secret":"a secret that nobody may log"}`)
	s.call("user", http.MethodPatch, one, `{"client_name":"audited"}`)
	s.call("user", http.MethodPut, one+"/scopes", `{"scopes":[{"scope":"manage:store"}]}`)
	made := s.addSecret(app.ClientID, 10)
	s.call("user", http.MethodDelete, one+"/secrets/"+made.ID, "")
	s.call("user", http.MethodDelete, one, "")
	var actions []string
	for _, line := range strings.Split(strings.TrimSpace(s.log.String()), "\n") {
		event := decode[map[string]any](t, line)
		if event["msg"] != "audit" {
			continue
		}
		actions = append(actions, event["action"].(string))
		require.Equal(t, app.ClientID, event["client_id"])
		require.Equal(t, "audited", event["client_name"])
		require.Equal(t, orgA, event["org_id"])
		require.Equal(t, []any{"client_credentials"}, event["grant_types"])
		require.Equal(t, "127.0.0.1", event["source_ip"])
		require.Equal(t, callerApp, event["actor_client_id"])
	}
	require.Equal(t, []string{
		"app_created", "app_edited", "secret_created", "scopes_assigned", "secret_created", "secret_deleted", "app_deleted",
	}, actions, "what changes nothing is no event")
	require.Contains(t, s.log.String(), `"changed":["client_name","client_secret"]`)
	for _, secret := range []string{app.ClientSecret, made.ClientSecret, "a secret that nobody may log"} {
		require.NotContains(t, s.log.String(), secret)
	}
}
