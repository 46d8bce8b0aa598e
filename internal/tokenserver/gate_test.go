// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/options/tokenserveroptions"
	"connectedapps.dev/operator/internal/tokenserver"
	"connectedapps.dev/operator/internal/tokenserver/pages"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// routeClasses is every route of the server, what it needs before it answers, and
// in whose words it says that it cannot.
var routeClasses = map[string]struct{ class, words string }{
	oauth.PathDiscovery:      {"always", "oauth"},
	oauth.PathMetadata:       {"always", "oauth"},
	oauth.PathJWKS:           {"always", "oauth"},
	"GET /accounts/assets/":  {"always", "page"},
	"GET " + pages.BrandPath: {"always", "page"},

	oauth.PathToken: {"cached", "oauth"},

	oauth.PathIntrospect: {"confirmed", "oauth"},
	oauth.PathRevoke:     {"confirmed", "oauth"},

	oauth.PathUserInfo:                                                            {"confirmed", "api"},
	oauth.PathProfile:                                                             {"confirmed", "api"},
	oauth.PathProfile + "/{$}":                                                    {"confirmed", "api"},
	oauth.PathUsersMe:                                                             {"confirmed", "api"},
	oauth.PathUsersMe + "/{$}":                                                    {"confirmed", "api"},
	oauth.PathMe:                                                                  {"confirmed", "api"},
	oauth.PathMe + "/{$}":                                                         {"confirmed", "api"},
	oauth.PathScopeCatalog:                                                        {"confirmed", "api"},
	"POST /accounts/login":                                                        {"confirmed", "api"},
	"POST /accounts/api/v1/oauth/token":                                           {"confirmed", "api"},
	"GET /accounts/api/logout":                                                    {"confirmed", "api"},
	"GET /accounts/api/logout/{$}":                                                {"confirmed", "api"},
	oauth.PathOrganizations + "/{orgId}":                                          {"confirmed", "api"},
	oauth.PathOrganizations + "/{orgId}/hierarchy":                                {"confirmed", "api"},
	oauth.PathOrganizations + "/{orgId}/environments":                             {"confirmed", "api"},
	oauth.PathOrganizations + "/{orgId}/environments/{envId}":                     {"confirmed", "api"},
	oauth.PathOrganizations + "/{orgId}/users":                                    {"confirmed", "api"},
	oauth.PathOrganizations + "/{orgId}/users/{userId}":                           {"confirmed", "api"},
	oauth.PathOrganizations + "/{orgId}/connectedApplications":                    {"confirmed", "api"},
	oauth.PathOrganizations + "/{orgId}/connectedApplications/{clientId}":         {"confirmed", "api"},
	oauth.PathOrganizations + "/{orgId}/connectedApplications/{clientId}/scopes":  {"confirmed", "api"},
	oauth.PathOrganizations + "/{orgId}/connectedApplications/{clientId}/secrets": {"confirmed", "api"},
	oauth.PathOrganizations + "/{orgId}/connectedApplications/{clientId}/secrets/{secretId}": {"confirmed", "api"},
	oauth.PathConnectedApps:                                    {"confirmed", "api"},
	oauth.PathConnectedApps + "/{clientId}":                    {"confirmed", "api"},
	oauth.PathConnectedApps + "/{clientId}/scopes":             {"confirmed", "api"},
	oauth.PathConnectedApps + "/{clientId}/secrets":            {"confirmed", "api"},
	oauth.PathConnectedApps + "/{clientId}/secrets/{secretId}": {"confirmed", "api"},

	"GET " + oauth.PathAuthorize:            {"confirmed", "page"},
	"POST " + oauth.PathAuthorize:           {"confirmed", "page"},
	"POST /accounts/authorize-app":          {"confirmed", "page"},
	"GET /accounts/login":                   {"confirmed", "page"},
	"GET /accounts/sign-in":                 {"confirmed", "page"},
	"POST /accounts/sign-in":                {"confirmed", "page"},
	"GET /accounts/sign-out":                {"confirmed", "page"},
	"POST /accounts/sign-out":               {"confirmed", "page"},
	"GET /accounts/authorized-apps":         {"confirmed", "page"},
	"POST /accounts/authorized-apps/revoke": {"confirmed", "page"},
	"GET " + oauth.PathEndSession:           {"confirmed", "page"},
	"POST " + oauth.PathEndSession:          {"confirmed", "page"},
}

// ask makes a plain request to a pattern.
func ask(t *testing.T, base, pattern string) answer {
	t.Helper()
	method, path, ok := strings.Cut(pattern, " ")
	if !ok {
		method, path = http.MethodGet, pattern
	}
	if pattern == oauth.PathToken || pattern == oauth.PathIntrospect || pattern == oauth.PathRevoke {
		method = http.MethodPost
	}
	path = strings.NewReplacer("{$}", "", "{orgId}", tokenservertest.OrgID, "{clientId}", "x", "{userId}", "x", "{envId}", "x", "{secretId}", "x").Replace(path)
	request, err := http.NewRequestWithContext(t.Context(), method, base+path, nil)
	require.NoError(t, err)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	require.NoError(t, err)
	return answer{response, readAll(t, response)}
}

// checkWords: 503 with Retry-After in the endpoint's own words.
func checkWords(t *testing.T, words string, got answer) {
	t.Helper()
	assert.Equal(t, http.StatusServiceUnavailable, got.StatusCode, got.body)
	assert.Equal(t, "2", got.Header.Get("Retry-After"))
	assert.Equal(t, "no-store", got.Header.Get("Cache-Control"))
	switch words {
	case "oauth":
		var failure oauth.ErrorResponse
		require.NoError(t, json.Unmarshal([]byte(got.body), &failure))
		assert.Equal(t, oauth.CodeTemporarilyUnavailable, failure.Error)
	case "api":
		var failure oauth.ManagementError
		require.NoError(t, json.Unmarshal([]byte(got.body), &failure))
		assert.Equal(t, http.StatusServiceUnavailable, failure.Status)
	default:
		assert.Contains(t, got.Header.Get("Content-Type"), "text/html")
		assert.Contains(t, got.body, "We cannot do this right now")
	}
}

func TestEveryRouteStandsBehindTheGateInItsClass(t *testing.T) {
	c, faults := &clock{}, tokenservertest.NewFaults()
	i := tokenservertest.Start(t, tokenservertest.WithoutLoad(), tokenservertest.WithStorage(faults.Wrap),
		tokenservertest.WithConfig(func(config *tokenserver.Config) { config.Now = c.Now }))
	classes, err := i.Server.Classes(t.Context())
	require.NoError(t, err)
	table := map[string]string{}
	for pattern, route := range routeClasses {
		table[pattern] = route.class
	}
	require.Equal(t, table, classes, "every route has one class, and this table has it")

	for _, state := range []struct {
		name    string
		enter   func()
		answers map[string]bool
	}{
		{"before the first load", func() {}, map[string]bool{"always": true}},
		{"up to date", func() { require.NoError(t, i.Server.Load(t.Context())) }, map[string]bool{"always": true, "cached": true, "confirmed": true}},
		{"two seconds after the last poll", func() { c.advance(2 * time.Second) }, map[string]bool{"always": true, "cached": true, "confirmed": true}},
		{"stale", func() {
			faults.Break(tokenservertest.Refused, "Changes")
			c.advance(2 * time.Second)
		}, map[string]bool{"always": true, "cached": true}},
		{"staler than maxStale", func() { c.advance(tokenserveroptions.DefaultMaxStale) }, map[string]bool{"always": true}},
		{"up to date again", func() {
			faults.Mend()
			c.advance(time.Second)
		}, map[string]bool{"always": true, "cached": true, "confirmed": true}},
	} {
		state.enter()
		for pattern, route := range routeClasses {
			t.Run(state.name+" "+pattern, func(t *testing.T) {
				got := ask(t, i.URL, pattern)
				switch {
				case !state.answers[route.class]:
					checkWords(t, route.words, got)
				default:
					assert.Less(t, got.StatusCode, http.StatusInternalServerError, got.body)
				}
			})
		}
	}
}

func TestAStaleReplicaServesWhatItKnowsAndRefusesNobody(t *testing.T) {
	b := newBuilding(t)
	unknown := b.as("machine", oauth.PathToken, "grant_type", "client_credentials", "client_id", strings.Repeat("0", 32))
	wrong := b.as("machine", oauth.PathToken, "grant_type", "client_credentials", "client_secret", "cas_rotated_at_another_replica")
	keyed := b.as("keyed", oauth.PathToken, "grant_type", "client_credentials", "scope", "full")
	right := b.as("machine", oauth.PathToken, clientCredentials...)
	workload := b.as("workload", oauth.PathToken, clientCredentials...)
	stateful := map[string]attempt{}
	for _, door := range append(tokenDoors[5:], bearerDoors...) {
		stateful[door.name] = door.make(b)
	}
	b.faults.Break(tokenservertest.Refused, "Changes")
	b.tick()
	require.Equal(t, http.StatusOK, right().StatusCode, "from memory")
	require.Equal(t, http.StatusOK, workload().StatusCode, "from memory")
	for name, refused := range map[string]attempt{"an app it has not heard of": unknown, "a secret it has not heard of": wrong,
		"a scope it has not heard of": keyed} {
		t.Run(name, func(t *testing.T) { checkWords(t, "oauth", refused()) })
	}
	for name, do := range stateful {
		t.Run(name, func(t *testing.T) { checkAnswer(t, http.StatusServiceUnavailable, do()) })
	}
	b.faults.Mend()
	b.tick()
	require.Equal(t, http.StatusUnauthorized, unknown().StatusCode)
	require.Equal(t, http.StatusUnauthorized, wrong().StatusCode)
	require.Equal(t, http.StatusBadRequest, keyed().StatusCode, "the same assertion is still good for an answer")

	b.faults.Break(tokenservertest.Refused, "Changes")
	b.clock.advance(tokenserveroptions.DefaultMaxStale + time.Second)
	checkWords(t, "oauth", right())
}

func TestAnAppOfAnotherReplicaIsKnownAtItsFirstRequest(t *testing.T) {
	b := newBuilding(t)
	app, err := b.i.Store.App(t.Context(), b.apps["machine"].ClientID)
	require.NoError(t, err)
	app.ClientID, app.ExternalID = strings.Repeat("ab", 16), ""
	for i := range app.Secrets {
		app.Secrets[i].ID += "2"
	}
	_, err = b.i.Store.CreateApp(t.Context(), app)
	require.NoError(t, err)
	b.tick() // no poll came in between, as on a machine that had no time for it
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {app.ClientID}, "client_secret": {b.apps["machine"].ClientSecret}}
	got := b.send(http.MethodPost, oauth.PathToken, "", form.Encode())()
	require.Equal(t, http.StatusOK, got.StatusCode, got.body)
}

func TestAnAppDisabledAtAnotherReplicaGetsNoTokenASecondLater(t *testing.T) {
	b := newBuilding(t)
	right := b.as("machine", oauth.PathToken, clientCredentials...)
	require.Equal(t, http.StatusOK, right().StatusCode)
	_, err := b.i.Store.UpdateApp(t.Context(), b.apps["machine"].ClientID, b.clock.Now(), func(a *storage.App) error {
		a.Enabled = false
		return nil
	})
	require.NoError(t, err)
	b.tick() // no poll came in between
	require.Equal(t, http.StatusUnauthorized, right().StatusCode, "the database is within reach")
}
