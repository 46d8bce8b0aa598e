// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// TestATokenFitsIntoAHeader gives apps more and more scopes: a JWT while it is
// short, else opaque, unless the app insists on a JWT. Whatever it is, our own
// endpoints take it.
func TestATokenFitsIntoAHeader(t *testing.T) {
	w := newPersonWorld(t, webApp)
	for name, row := range map[string]struct {
		scopes int
		format string
		opaque bool
	}{
		"few scopes, no format":        {3, `null`, false},
		"40 scopes, no format":         {40, `null`, false},
		"350 scopes, no format":        {350, `null`, true},
		"350 scopes, a JWT by wish":    {350, `"jwt"`, false},
		"few scopes, opaque by wish":   {3, `"opaque"`, true},
		"1,000 scopes, as many as are": {1000, `null`, true},
	} {
		t.Run(name, func(t *testing.T) {
			app := register(t, w.i, `{"client_name":"Machine","grant_types":["client_credentials"],"access_token_format":`+row.format+`}`)
			var scopes []string
			for n := range row.scopes {
				scopes = append(scopes, fmt.Sprintf(`{"scope":"view:resource-%d","context_params":{"org":%q,"envId":%q}}`, n, w.i.OrgID, tokenservertest.EnvID))
			}
			w.assign(app, `{"scopes":[`+strings.Join(scopes, ",")+`]}`)
			token := w.machineToken(app)
			require.Equal(t, row.opaque, strings.HasPrefix(token, "cat_"))
			if row.opaque {
				require.Less(t, len(token), 64)
			}
			if row.format == `null` {
				require.LessOrEqual(t, len(token), 4<<10, "common proxies refuse headers of 8 KiB")
			}
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.i.URL+oauth.PathProfile, nil)
			require.NoError(t, err)
			request.Header.Set("Authorization", "Bearer "+token)
			response, err := http.DefaultClient.Do(request)
			require.NoError(t, err)
			defer func() { _ = response.Body.Close() }()
			require.Equal(t, http.StatusOK, response.StatusCode)
			require.True(t, w.introspect(app, token).Active)
		})
	}
}

// TestNoTokenIsLongerThanItsOwnServerTakes: a JWT of a thousand long names by
// wish could not be presented, introspected nor revoked.
func TestNoTokenIsLongerThanItsOwnServerTakes(t *testing.T) {
	w := newPersonWorld(t, webApp)
	app := register(t, w.i, `{"client_name":"Machine","grant_types":["client_credentials"],"access_token_format":"jwt"}`)
	var scopes []string
	for n := range 1000 {
		scopes = append(scopes, fmt.Sprintf("%q", strings.Repeat("x", 50)+fmt.Sprint(n)))
	}
	w.assign(app, `{"scopes":[`+strings.Join(scopes, ",")+`]}`)
	ask := func(more string) (*http.Response, string) {
		return post(t, w.i.URL+oauth.PathToken, "application/json", fmt.Sprintf(
			`{"grant_type":"client_credentials","client_id":%q,"client_secret":%q%s}`, app.ClientID, app.ClientSecret, more), nil)
	}
	response, text := ask("")
	require.Equal(t, http.StatusBadRequest, response.StatusCode, text)
	require.Contains(t, text, "invalid_scope")
	require.Contains(t, text, "the token would be longer than 48 KiB: ask for fewer scopes, or leave out access_token_format of the app")
	response, text = ask(`,"scope":"` + strings.Repeat("x", 50) + `7"`)
	require.Equal(t, http.StatusOK, response.StatusCode, text)
}
