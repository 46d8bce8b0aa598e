// SPDX-License-Identifier: Apache-2.0

package management_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// whole is the assembled server, with real tokens.
type whole struct {
	*tokenservertest.Instance
	t *testing.T
}

// token asks for an access token with the client_credentials grant; empty when
// the server refuses.
func (s whole) token(clientID, secret string) string {
	answer, err := http.PostForm(s.URL+oauth.PathToken, url.Values{
		"grant_type": {oauth.GrantClientCredentials}, "client_id": {clientID}, "client_secret": {secret},
	})
	require.NoError(s.t, err)
	defer answer.Body.Close()
	var issued oauth.TokenResponse
	require.NoError(s.t, json.NewDecoder(answer.Body).Decode(&issued))
	return issued.AccessToken
}

func (s whole) call(token, method, path, body string) (int, string) {
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, strings.NewReader(body))
	require.NoError(s.t, err)
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	require.NoError(s.t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(s.t, err)
	return answer.StatusCode, string(text)
}

// TestChangesBiteAtOnce: what the management API answered holds for the next
// request of anybody.
func TestChangesBiteAtOnce(t *testing.T) {
	s := whole{tokenservertest.Start(t), t}
	admin := s.token(s.AdminClientID, s.AdminClientSecret)
	require.NotEmpty(t, admin)
	apps := orgApps(s.OrgID)
	status, body := s.call(admin, http.MethodPost, apps, `{"client_name":"job","grant_types":["client_credentials"]}`)
	require.Equal(t, http.StatusCreated, status, body)
	app := decode[oauth.ConnectedApp](t, body)
	one := apps + "/" + app.ClientID

	status, body = s.call(admin, http.MethodPut, one+"/scopes", `{"scopes":[{"scope":"read:orgconnapps"}]}`)
	require.Equal(t, http.StatusNoContent, status, body)
	job := s.token(app.ClientID, app.ClientSecret)
	require.NotEmpty(t, job, "a new app logs in at once")
	status, _ = s.call(job, http.MethodGet, apps, "")
	require.Equal(t, http.StatusOK, status, "with the scope just assigned")
	status, _ = s.call(job, http.MethodPost, apps, userApp)
	require.Equal(t, http.StatusUnauthorized, status)
	status, body = s.call(job, http.MethodGet, oauth.PathProfile, "")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, tokenservertest.OwnerID, "the app is answered with its owner")
	status, _ = s.call(job+"x", http.MethodGet, oauth.PathProfile, "")
	require.Equal(t, http.StatusUnauthorized, status, "a token that was tampered with")

	_, body = s.call(admin, http.MethodPost, one+"/secrets", `{"overlap_seconds":3600}`)
	second := decode[oauth.Secret](t, body)
	require.NotEmpty(t, s.token(app.ClientID, second.ClientSecret))
	require.NotEmpty(t, s.token(app.ClientID, app.ClientSecret))
	status, _ = s.call(admin, http.MethodDelete, one+"/secrets/"+app.ClientSecretID, "")
	require.Equal(t, http.StatusNoContent, status)
	require.Empty(t, s.token(app.ClientID, app.ClientSecret))

	_, _ = s.call(admin, http.MethodPatch, one, `{"enabled":false}`)
	require.Empty(t, s.token(app.ClientID, second.ClientSecret), "a disabled app gets no token")
	status, _ = s.call(job, http.MethodGet, apps, "")
	require.Equal(t, http.StatusUnauthorized, status, "and its tokens end")
	_, _ = s.call(admin, http.MethodPatch, one, `{"enabled":true}`)
	status, _ = s.call(job, http.MethodGet, apps, "")
	require.Equal(t, http.StatusUnauthorized, status, "for good: what was switched off may have been stolen")
	job = s.token(app.ClientID, second.ClientSecret)
	status, _ = s.call(job, http.MethodGet, apps, "")
	require.Equal(t, http.StatusOK, status)

	status, _ = s.call(admin, http.MethodDelete, one, "")
	require.Equal(t, http.StatusNoContent, status)
	require.Empty(t, s.token(app.ClientID, second.ClientSecret))
	status, _ = s.call(job, http.MethodGet, apps, "")
	require.Equal(t, http.StatusUnauthorized, status)
	status, body = s.call(admin, http.MethodPost, apps,
		`{"client_name":"job","grant_types":["client_credentials"],"client_id":"`+app.ClientID+`","client_secret":"`+second.ClientSecret+`"}`)
	require.Equal(t, http.StatusCreated, status, body)
	_, _ = s.call(admin, http.MethodPut, one+"/scopes", `{"scopes":[{"scope":"read:orgconnapps"}]}`)
	status, _ = s.call(job, http.MethodGet, apps, "")
	require.Equal(t, http.StatusUnauthorized, status, "a restored app does not revive its tokens")
}

func TestEverySecretOfParallelCreationsWorks(t *testing.T) {
	s := whole{tokenservertest.Start(t), t}
	admin := s.token(s.AdminClientID, s.AdminClientSecret)
	bodies := make([]string, 20)
	var group sync.WaitGroup
	for i := range bodies {
		group.Go(func() {
			_, bodies[i] = s.call(admin, http.MethodPost, bareApps, `{"client_name":"x","grant_types":["client_credentials"],"external_id":"e"}`)
		})
	}
	group.Wait()
	ids := map[string]bool{}
	for _, body := range bodies {
		app := decode[oauth.ConnectedApp](t, body)
		ids[app.ClientID] = true
		require.NotEmpty(t, s.token(app.ClientID, app.ClientSecret))
	}
	require.Len(t, ids, 1)
}

// TestTwoOrganizations: the administrators of two organizations see nothing of
// each other.
func TestTwoOrganizations(t *testing.T) {
	s := whole{tokenservertest.Start(t), t}
	mine := s.token(s.AdminClientID, s.AdminClientSecret)
	other := s.token(tokenservertest.OtherAdminClientID, s.OtherAdminClientSecret)
	_, body := s.call(mine, http.MethodPost, bareApps, userApp)
	app := decode[oauth.ConnectedApp](t, body)
	for _, path := range []string{bareApps + "/" + app.ClientID, orgApps(s.OrgID), orgApps(s.OrgID) + "/" + app.ClientID, "/accounts/api/organizations/" + s.OrgID} {
		status, _ := s.call(other, http.MethodGet, path, "")
		require.Equal(t, http.StatusNotFound, status, path)
	}
	status, body := s.call(other, http.MethodGet, bareApps, "")
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"data":[],"total":0}`, body, "the administrator's client is not listed either")
}
