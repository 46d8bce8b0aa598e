// SPDX-License-Identifier: Apache-2.0

package management_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
)

// TestScopesGoOnlyWhenTheRequestSaysSo: what GET answered, no body, or any
// object without the list takes nothing away.
func TestScopesGoOnlyWhenTheRequestSaysSo(t *testing.T) {
	s := start(t)
	one := bareApps + "/" + s.clientCredentialsApp().ClientID + "/scopes"
	full := func() {
		require.Equal(t, http.StatusNoContent, s.call("admin", http.MethodPut, one, `{"scopes":["manage:store"]}`).status)
	}
	full()
	got := s.call("admin", http.MethodGet, one, "").body
	const put, add, remove = `scopes: is required: send {"scopes":[…]} with all that the app is to have; {"scopes":[]} or {} takes all away`,
		`scopes: is required: send {"scopes":[…]} with those to add`, `scopes: is required: send {"scopes":[…]} with those to remove`
	for method, message := range map[string]string{http.MethodPut: put, http.MethodPatch: add, http.MethodDelete: remove} {
		bodies := []string{"", " ", "null", got, `{"data":[]}`, `{"scopes":null}`, `{"x":1}`}
		if method != http.MethodPut {
			bodies = append(bodies, `{}`)
		}
		for _, body := range bodies {
			s.call("admin", method, one, body).refused(t, http.StatusBadRequest, message)
		}
	}
	require.Equal(t, http.StatusOK, s.call("admin", http.MethodPatch, strings.TrimSuffix(one, "/scopes"), `{"scopes":null}`).status)
	require.Equal(t, got, s.call("admin", http.MethodGet, one, "").body)
	for _, body := range []string{`{}`, ` { } `, `{"scopes":[]}`, `{"scopes":[],"data":[],"total":1}`} {
		full()
		require.Equal(t, http.StatusNoContent, s.call("admin", http.MethodPut, one, body).status, body)
		require.NotContains(t, s.call("admin", http.MethodGet, one, "").body, "manage:store", body)
	}
}

// TestNullIsNoBody: the generated Go client sends it when there is none.
func TestNullIsNoBody(t *testing.T) {
	s := start(t)
	app := s.clientCredentialsApp()
	one := bareApps + "/" + app.ClientID
	reset := s.call("admin", http.MethodPatch, one+"?resetSecret=true", "null").app(t, http.StatusOK)
	require.NotEmpty(t, reset.ClientSecret)
	require.False(t, s.accepts(app.ClientID, app.ClientSecret))
	s.call("admin", http.MethodPost, bareApps, "null").refused(t, http.StatusBadRequest, "client_name: is required")
	s.call("admin", http.MethodPost, one+"/secrets", "null").
		refused(t, http.StatusBadRequest, "overlap_seconds: is required: how long the earlier secrets stay valid at most")
	require.Equal(t, http.StatusNoContent, s.call("admin", http.MethodDelete, one+"/secrets/"+reset.ClientSecretID, "null").status)
	require.Equal(t, http.StatusNoContent, s.call("admin", http.MethodDelete, one, "null").status)
}

func TestQueriesAreReadAsBrowsersDo(t *testing.T) {
	s := start(t)
	s.create(`{"client_name":"100%;","grant_types":["client_credentials"]}`)
	s.create(`{"client_name":"other","grant_types":["client_credentials"]}`)
	total := func(query string) int {
		t.Helper()
		answer := s.call("admin", http.MethodGet, bareApps+"?"+query, "")
		require.Equal(t, http.StatusOK, answer.status, answer.body)
		return decode[oauth.List[oauth.ConnectedApp]](t, answer.body).Total
	}
	for query, want := range map[string]int{
		"search=100%;": 1, "search=%25;": 1, "search=": 2, "search=&search=other": 1, "limit=&offset=&external_id=&orgId=&includeUsage=": 2,
		"utm=%00&utm=a&Search=x": 2,
	} {
		require.Equal(t, want, total(query), query)
	}
}
