// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const jobs = `apps:
- {clientID: job, clientName: Job, grantTypes: [client_credentials], clientSecretFile: job-secret, scopes: [{scope: full, organizationID: ` + orgID + `}]}
- clientID: web
  clientName: Web
  grantTypes: [authorization_code]
  redirectURIs: [http://127.0.0.1/callback]
  scopes: [openid, profile]
  tokenEndpointAuthMethod: none
`

func (s *site) withApps() *site {
	s.t.Helper()
	s.write("job-secret", "cas_job0123456789\n")
	s.edit("organizations:", jobs+"organizations:")
	return s
}

// tokenOf asks for a token of an app.
func (r *server) tokenOf(id, secret string) int {
	r.t.Helper()
	response, err := http.PostForm("http://"+r.public+"/accounts/api/v2/oauth2/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret},
	})
	require.NoError(r.t, err)
	_ = response.Body.Close()
	return response.StatusCode
}

// manage calls the management API with the administrator's client.
func (r *server) manage(method, path, body string) (int, map[string]any) {
	r.t.Helper()
	_, token := r.token(canary)
	return r.manageWith(token, method, path, body)
}

// manageWith calls it with a token.
func (r *server) manageWith(token, method, path, body string) (int, map[string]any) {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.public+"/accounts/api/connectedApplications"+path, strings.NewReader(body))
	require.NoError(r.t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	require.NoError(r.t, err)
	defer func() { _ = response.Body.Close() }()
	var answer map[string]any
	_ = json.NewDecoder(response.Body).Decode(&answer)
	return response.StatusCode, answer
}

func TestAppsOfTheFileAreServedAndKeptAsTheyAre(t *testing.T) {
	r := newSite(t).withApps().start().ready()
	require.Equal(t, http.StatusOK, r.tokenOf("job", "cas_job0123456789"))
	status, app := r.manage(http.MethodGet, "/web", "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "Web", app["client_name"])
	require.Equal(t, []any{"http://127.0.0.1/callback"}, app["redirect_uris"])
	status, list := r.manage(http.MethodGet, "", "")
	require.Equal(t, http.StatusOK, status)
	require.Empty(t, list["data"], "lists hold the apps that people registered")
	status, _ = r.manage(http.MethodPatch, "/web", `{"client_name":"Mine"}`)
	require.Equal(t, http.StatusConflict, status)
	status, _ = r.manage(http.MethodDelete, "/job", "")
	require.Equal(t, http.StatusConflict, status)

	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Get("http://" + r.public + "/accounts/api/v2/oauth2/authorize?response_type=code&client_id=web&scope=openid" +
		"&redirect_uri=http%3A%2F%2F127.0.0.1%3A9999%2Fcallback&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256")
	require.NoError(t, err)
	_ = response.Body.Close()
	require.Contains(t, response.Header.Get("Location"), "/accounts/", "on to the sign-in page")
}

func TestAppsOfTheFileAreTakenOverChangedAndDeleted(t *testing.T) {
	r := newSite(t).withApps().start().ready()
	r.write("job-secret", "cas_next0123456789")
	r.eventually("the new secret", func() bool { return r.tokenOf("job", "cas_next0123456789") == http.StatusOK })
	require.Equal(t, http.StatusUnauthorized, r.tokenOf("job", "cas_job0123456789"), "the old one ended")

	r.edit("clientName: Web", "clientName: Web Shop")
	r.eventually("the new name", func() bool {
		_, app := r.manage(http.MethodGet, "/web", "")
		return app["client_name"] == "Web Shop"
	})
	r.edit(jobs[len("apps:\n"):strings.Index(jobs, "- clientID: web")], "")
	r.eventually("gone", func() bool { return r.tokenOf("job", "cas_next0123456789") == http.StatusUnauthorized })
	require.NotContains(t, r.log.String(), "cas_next0123456789")
	require.NotContains(t, r.log.String(), "take effect after a restart")
}
