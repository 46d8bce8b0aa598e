// SPDX-License-Identifier: Apache-2.0

package platform_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/registrar"
	"connectedapps.dev/operator/internal/testenv/platform"
)

func connect(t *testing.T, p *platform.Platform) *registrar.Client {
	t.Helper()
	client, err := registrar.New(registrar.Config{
		URL: p.URL, ClientID: platform.AdminClientID, ClientSecret: p.AdminClientSecret, RequestsPerSecond: 10000,
	})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

func backend(name string) registrar.Fields {
	return registrar.Fields{
		ClientName: &name, GrantTypes: &[]string{oauth.GrantClientCredentials}, Audience: new(oauth.AudienceInternal),
		RedirectURIs: &[]string{}, PublicKeys: &[]string{}, Scopes: &[]string{},
	}
}

// tokenStatus asks for a token and returns the status of the answer.
func tokenStatus(t *testing.T, p *platform.Platform, id, secret string) int {
	t.Helper()
	form := url.Values{"grant_type": {oauth.GrantClientCredentials}, "client_id": {id}, "client_secret": {secret}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL+oauth.PathToken, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	return response.StatusCode
}

func TestItOffersNoneOfOurExtensions(t *testing.T) {
	p := platform.Start(t)
	client := connect(t, p)
	found, err := client.Discover(t.Context())
	require.NoError(t, err)
	require.Empty(t, found.Extensions)
	require.Empty(t, found.InstallationID)
	organization, err := client.Organization(t.Context())
	require.NoError(t, err)
	require.Equal(t, platform.OrgID, organization)

	fields := backend("twice")
	fields.TokenEndpointAuthMethod, fields.PolicyURI = new(oauth.AuthMethodSecretBasic), new("https://example.com/policy")
	first, err := client.Register(t.Context(), "cluster/ns/app/uid", fields)
	require.NoError(t, err)
	second, err := client.Register(t.Context(), "cluster/ns/app/uid", fields)
	require.NoError(t, err)
	require.False(t, second.Existed)
	require.NotEqual(t, first.App.ClientID, second.App.ClientID, "a repeated creation makes one more app")
	_, err = client.AppByExternalID(t.Context(), "cluster/ns/app/uid")
	require.True(t, registrar.IsNotFound(err))
	read, err := client.Read(t.Context(), first.App.ClientID)
	require.NoError(t, err)
	require.Equal(t, [4]string{}, [4]string{read.TokenEndpointAuthMethod, read.ExternalID, read.Revision, read.ClientSecretID}, "members it does not know are dropped")
	require.Nil(t, read.PolicyURI)
	_, err = client.Secrets(t.Context(), first.App.ClientID)
	require.True(t, registrar.IsNotFound(err))
}

func TestAnAppHasOneSecretThatCanBeReadChosenAndReset(t *testing.T) {
	p := platform.Start(t)
	client := connect(t, p)
	made, err := client.Register(t.Context(), "", backend("app"))
	require.NoError(t, err)
	id := made.App.ClientID
	require.Equal(t, http.StatusOK, tokenStatus(t, p, id, made.App.ClientSecret))
	read, err := client.Read(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, made.App.ClientSecret, read.ClientSecret)

	_, err = client.Update(t.Context(), id, registrar.Fields{ClientSecret: new("chosen by its owner")})
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, tokenStatus(t, p, id, made.App.ClientSecret), "there is one secret at a time")
	require.Equal(t, http.StatusOK, tokenStatus(t, p, id, "chosen by its owner"))

	_, err = client.Update(t.Context(), id, registrar.Fields{Enabled: new(false)})
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, tokenStatus(t, p, id, "chosen by its owner"))
	require.NoError(t, client.Delete(t.Context(), id))
	_, err = client.Read(t.Context(), id)
	require.True(t, registrar.IsNotFound(err))

	hiding := platform.Start(t, platform.WithoutSecretOnRead())
	client = connect(t, hiding)
	made, err = client.Register(t.Context(), "", backend("app"))
	require.NoError(t, err)
	require.NotEmpty(t, made.App.ClientSecret, "it is told when it is made")
	read, err = client.Read(t.Context(), made.App.ClientID)
	require.NoError(t, err)
	require.Empty(t, read.ClientSecret)
}

func TestScopesWithContextsStayThroughAnUpdate(t *testing.T) {
	client := connect(t, platform.Start(t))
	made, err := client.Register(t.Context(), "", backend("app"))
	require.NoError(t, err)
	scope := oauth.ContextScope{Scope: "view:environment", ContextParams: oauth.ContextParams{Org: platform.OrgID, EnvID: "env"}}
	require.NoError(t, client.PutScopes(t.Context(), made.App.ClientID, []oauth.ContextScope{scope}))
	_, err = client.Update(t.Context(), made.App.ClientID, registrar.Fields{Scopes: &[]string{}})
	require.NoError(t, err)
	scopes, err := client.Scopes(t.Context(), made.App.ClientID)
	require.NoError(t, err)
	require.Equal(t, []oauth.ContextScope{{Scope: oauth.ScopeProfile}, scope}, scopes)
	require.NoError(t, client.PutScopes(t.Context(), made.App.ClientID, nil))
	scopes, err = client.Scopes(t.Context(), made.App.ClientID)
	require.NoError(t, err)
	require.Equal(t, []oauth.ContextScope{{Scope: oauth.ScopeProfile}}, scopes, "profile is implicit")
	require.True(t, registrar.IsInvalid(client.PutScopes(t.Context(), made.App.ClientID, []oauth.ContextScope{{Scope: oauth.ScopeOpenID}})))
}

func TestAListHasPagesAndASearch(t *testing.T) {
	p := platform.Start(t)
	client := connect(t, p)
	for _, name := range []string{"plum", "green", "Plum too"} {
		_, err := client.Register(t.Context(), "", backend(name))
		require.NoError(t, err)
	}
	page, err := client.List(t.Context(), 2, 2)
	require.NoError(t, err)
	require.Equal(t, 3, page.Total)
	require.Len(t, page.Apps, 1)
	require.Equal(t, "Plum too", page.Apps[0].ClientName)
	require.Empty(t, page.Apps[0].ClientSecret)

	status, body := get(t, p, oauth.PathConnectedApps+"?search=PLUM")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, `"total":2`)
}

// get asks as the administrator.
func get(t *testing.T, p *platform.Platform, path string) (int, string) {
	t.Helper()
	form := url.Values{"grant_type": {oauth.GrantClientCredentials}, "client_id": {platform.AdminClientID}, "client_secret": {p.AdminClientSecret}}
	response, err := http.DefaultClient.PostForm(p.URL+oauth.PathToken, form)
	require.NoError(t, err)
	answer, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	_ = response.Body.Close()
	_, token, _ := strings.Cut(string(answer), `"access_token":"`)
	token, _, _ = strings.Cut(token, `"`)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.URL+path, nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "bearer "+token)
	response, err = http.DefaultClient.Do(request)
	require.NoError(t, err)
	answer, err = io.ReadAll(response.Body)
	require.NoError(t, err)
	_ = response.Body.Close()
	return response.StatusCode, string(answer)
}

func TestWhatIsWrongIsRefusedInTheWordsOfTheAPI(t *testing.T) {
	p := platform.Start(t)
	client := connect(t, p)
	wrong := backend("app")
	wrong.GrantTypes = &[]string{"client-credentials"}
	_, err := client.Register(t.Context(), "", wrong)
	require.True(t, registrar.IsInvalid(err))
	require.ErrorContains(t, err, "unknown grant type client-credentials")
	missing := backend("app")
	missing.PublicKeys = nil
	_, err = client.Register(t.Context(), "", missing)
	require.True(t, registrar.IsInvalid(err), "arrays are required, as the live platform is said to")
	p.RevokeTokens()
	_, err = client.List(t.Context(), 0, 1)
	require.NoError(t, err, "the client logs in anew")
}

func TestFaultsBeforeAndAfterTheWork(t *testing.T) {
	p := platform.Start(t)
	client := connect(t, p)
	_, err := client.Organization(t.Context())
	require.NoError(t, err)
	register := func(fault platform.Fault) error {
		p.Inject(func(r *http.Request) platform.Fault {
			if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/connectedApplications") {
				return fault
			}
			return platform.Fault{}
		})
		_, failed := client.Register(t.Context(), "", backend("app"))
		return failed
	}
	require.True(t, registrar.IsConflict(register(platform.Fault{Status: http.StatusConflict, Message: "busy"})))
	require.Equal(t, registrar.ReasonUnreachable, registrar.ReasonOf(register(platform.Fault{Drop: true})))
	require.Equal(t, 0, total(t, client))
	require.Equal(t, registrar.ReasonServerError, registrar.ReasonOf(register(platform.Fault{Done: true, Status: http.StatusInternalServerError})))
	require.Equal(t, registrar.ReasonUnreachable, registrar.ReasonOf(register(platform.Fault{Done: true, Drop: true})))
	require.Equal(t, 2, total(t, client), "the work was done and its answer lost")
	require.Equal(t, 4, p.Calls(http.MethodPost, oauth.PathOrganizations+"/"+platform.OrgID+"/connectedApplications"))

	p.Inject(nil)
	p.Stop()
	_, err = client.List(t.Context(), 0, 1)
	require.Equal(t, registrar.ReasonUnreachable, registrar.ReasonOf(err))
	p.Resume(t)
	require.Equal(t, 2, total(t, client), "what is registered outlives the listener")
}

func total(t *testing.T, client *registrar.Client) int {
	t.Helper()
	page, err := client.List(t.Context(), 0, 1)
	require.NoError(t, err)
	return page.Total
}
