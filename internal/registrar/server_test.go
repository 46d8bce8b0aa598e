// SPDX-License-Identifier: Apache-2.0

package registrar_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/registrar"
	"connectedapps.dev/operator/internal/tokenserver"
	"connectedapps.dev/operator/internal/tokenserver/assertion"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
	"connectedapps.dev/operator/internal/tokenserver/workload"
)

// connect makes a client of the administrator of a real server.
func connect(t *testing.T, server *tokenservertest.Instance, change ...func(*registrar.Config)) *registrar.Client {
	t.Helper()
	config := registrar.Config{
		URL: server.URL, ClientID: server.AdminClientID, ClientSecret: server.AdminClientSecret, RequestsPerSecond: 10000,
	}
	for _, f := range change {
		f(&config)
	}
	client, err := registrar.New(config)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

func backend() registrar.Fields {
	return registrar.Fields{
		ClientName: new("GitProxy"),
		GrantTypes: &[]string{oauth.GrantClientCredentials},
		Audience:   new(oauth.AudienceInternal),
	}
}

func TestAnAppLivesThroughTheManagementAPI(t *testing.T) {
	client := connect(t, tokenservertest.Start(t))
	made, err := client.Register(t.Context(), "cluster/payments/gitproxy/1", backend())
	require.NoError(t, err)
	require.False(t, made.Existed)
	require.NotEmpty(t, made.App.ClientSecret)
	id := made.App.ClientID

	again, err := client.Register(t.Context(), "cluster/payments/gitproxy/1", registrar.Fields{ClientName: new("another")})
	require.NoError(t, err)
	require.True(t, again.Existed, "a repeated registration is the same app")
	require.Equal(t, id, again.App.ClientID)
	require.Equal(t, "GitProxy", again.App.ClientName, "nothing of the repetition is applied")
	require.NotEqual(t, made.App.ClientSecret, again.App.ClientSecret)

	found, err := client.AppByExternalID(t.Context(), "cluster/payments/gitproxy/1")
	require.NoError(t, err)
	require.Equal(t, id, found.ClientID)
	_, err = client.AppByExternalID(t.Context(), "somebody else's")
	require.True(t, registrar.IsNotFound(err))

	updated, err := client.Update(t.Context(), id, registrar.Fields{ClientName: new("renamed"), ClientURI: new("https://example.com/")})
	require.NoError(t, err)
	require.Equal(t, "renamed", updated.ClientName)
	cleared, err := client.Update(t.Context(), id, registrar.Fields{ClientURI: new("")})
	require.NoError(t, err)
	require.Nil(t, cleared.ClientURI)
	require.Equal(t, "renamed", cleared.ClientName, "a field that is nil stays")

	read, err := client.Read(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, cleared.Revision, read.Revision)

	require.NoError(t, client.Delete(t.Context(), id))
	require.NoError(t, client.Delete(t.Context(), id), "to delete again is no error")
	_, err = client.Read(t.Context(), id)
	require.True(t, registrar.IsNotFound(err))
	require.False(t, registrar.IsUnavailable(err))
}

func TestScopesAreReplacedAndKeepTheirOrder(t *testing.T) {
	client := connect(t, tokenservertest.Start(t))
	made, err := client.Register(t.Context(), "", backend())
	require.NoError(t, err)
	want := []oauth.ContextScope{
		{Scope: "view:environment", ContextParams: oauth.ContextParams{Org: tokenservertest.OrgID, EnvID: tokenservertest.EnvID}},
		{Scope: "read:applications", ContextParams: oauth.ContextParams{Org: tokenservertest.OrgID}},
	}
	require.NoError(t, client.PutScopes(t.Context(), made.App.ClientID, want))
	require.NoError(t, client.PutScopes(t.Context(), made.App.ClientID, want))
	got, err := client.Scopes(t.Context(), made.App.ClientID)
	require.NoError(t, err)
	require.Subset(t, got, want)
	require.Equal(t, want, got[len(got)-len(want):])

	require.NoError(t, client.PutScopes(t.Context(), made.App.ClientID, nil))
	got, err = client.Scopes(t.Context(), made.App.ClientID)
	require.NoError(t, err)
	require.NotContains(t, got, want[0])
}

func TestSecretsOverlapAndEnd(t *testing.T) {
	client := connect(t, tokenservertest.Start(t))
	made, err := client.Register(t.Context(), "", backend())
	require.NoError(t, err)
	id := made.App.ClientID

	added, err := client.AddSecret(t.Context(), id, time.Hour)
	require.NoError(t, err)
	require.NotEqual(t, made.App.ClientSecret, added.ClientSecret)
	list, err := client.Secrets(t.Context(), id)
	require.NoError(t, err)
	require.Len(t, list.Data, 2)
	for _, secret := range list.Data {
		require.Empty(t, secret.ClientSecret)
		require.Equal(t, secret.ID == made.App.ClientSecretID, secret.ExpiresAt != nil, "only the earlier one ends")
	}

	require.NoError(t, client.DeleteSecret(t.Context(), id, made.App.ClientSecretID))
	require.NoError(t, client.DeleteSecret(t.Context(), id, made.App.ClientSecretID), "to delete again is no error")
	list, err = client.Secrets(t.Context(), id)
	require.NoError(t, err)
	require.Len(t, list.Data, 1)
	require.Equal(t, added.ID, list.Data[0].ID)
}

func TestListIsReadPageByPage(t *testing.T) {
	client := connect(t, tokenservertest.Start(t))
	want := map[string]bool{}
	for range 5 {
		made, err := client.Register(t.Context(), "", backend())
		require.NoError(t, err)
		want[made.App.ClientID] = true
	}
	got := map[string]bool{}
	for offset := 0; ; {
		page, err := client.List(t.Context(), offset, 2)
		require.NoError(t, err)
		require.Equal(t, 5, page.Total)
		for _, app := range page.Apps {
			require.NotEmpty(t, app.Revision)
			got[app.ClientID] = true
		}
		if offset += len(page.Apps); offset >= page.Total {
			break
		}
	}
	require.Equal(t, want, got)
}

func TestRefusalsOfTheRealServer(t *testing.T) {
	server := tokenservertest.Start(t)
	client := connect(t, server)
	made, err := client.Register(t.Context(), "", backend())
	require.NoError(t, err)

	_, err = client.Update(t.Context(), made.App.ClientID, registrar.Fields{RedirectURIs: &[]string{"http://example.com/"}})
	require.True(t, registrar.IsInvalid(err))
	require.ErrorContains(t, err, "updating the app: the server answered 400: redirect_uris[0]", "the server's words help")

	stranger := connect(t, server, func(c *registrar.Config) { c.ClientSecret = "cas_wrong" })
	_, err = stranger.Me(t.Context())
	require.Equal(t, registrar.ReasonCredentialsRefused, registrar.ReasonOf(err))

	weak := connect(t, server, func(c *registrar.Config) { c.ClientID, c.ClientSecret = made.App.ClientID, made.App.ClientSecret })
	_, err = weak.List(t.Context(), 0, 1)
	require.Equal(t, registrar.ReasonUnauthorized, registrar.ReasonOf(err), "an app that may not manage apps")

	elsewhere := connect(t, server, func(c *registrar.Config) { c.OrganizationID = tokenservertest.OtherOrgID })
	_, err = elsewhere.List(t.Context(), 0, 1)
	require.True(t, registrar.IsNotFound(err))
	_, err = elsewhere.Read(t.Context(), made.App.ClientID)
	require.True(t, registrar.IsNotFound(err))
}

func TestDiscoveryChecksTheIssuerOfThePublicURL(t *testing.T) {
	server := tokenservertest.Start(t)
	found, err := connect(t, server).Discover(t.Context())
	require.NoError(t, err)
	require.Equal(t, server.URL+oauth.IssuerPath, found.Issuer)
	require.True(t, found.Has(oauth.ExtensionExternalID))
	require.True(t, found.Has(oauth.ExtensionSecrets))
	require.NotEmpty(t, found.InstallationID)

	address, err := url.Parse(server.URL)
	require.NoError(t, err)
	inside := connect(t, server, func(c *registrar.Config) { c.InternalURL = "http://localhost:" + address.Port() })
	_, err = inside.Discover(t.Context())
	require.NoError(t, err, "the document names the public issuer at the internal address too")

	other := connect(t, server, func(c *registrar.Config) { c.URL, c.InternalURL = "https://id.example.com", server.URL })
	_, err = other.Discover(t.Context())
	require.Equal(t, registrar.ReasonIssuerMismatch, registrar.ReasonOf(err))
	require.ErrorContains(t, err, "expected https://id.example.com/accounts/api/v2/oauth2")
}

func TestTheScopeCatalogue(t *testing.T) {
	names, err := connect(t, tokenservertest.Start(t)).ScopeCatalogue(t.Context())
	require.NoError(t, err)
	require.Subset(t, names, []string{"full", "openid", "profile", "view:environment", oauth.ScopeManageConnApps})

	for name, row := range map[string]struct {
		status            int
		contentType, body string
		names             []string
		reason            registrar.Reason
	}{
		"a catalogue":                    {200, "application/json", `[{"scope":"a","displayName":"A","internal":true},{},{"scope":"b"}]`, []string{"a", "b"}, ""},
		"an empty catalogue":             {200, "application/json", `[]`, []string{}, ""},
		"no catalogue":                   {404, "application/json", `{"status":404,"message":"no such path"}`, nil, ""},
		"no catalogue, in a proxy's way": {404, "text/html", `<html>`, nil, ""},
		"no way to read it":              {405, "text/plain", ``, nil, ""},
		"another shape":                  {200, "application/json", `{"data":[]}`, nil, registrar.ReasonInvalidAnswer},
		"not for everybody":              {403, "application/json", `{}`, nil, registrar.ReasonUnauthorized},
		"trouble":                        {500, "application/json", `{}`, nil, registrar.ReasonServerError},
	} {
		t.Run(name, func(t *testing.T) {
			client := double(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || r.URL.Path != "/accounts/api/cs/scopes" {
					t.Errorf("asked for %s %s", r.Method, r.URL.Path)
				}
				w.Header().Set("Content-Type", row.contentType)
				w.WriteHeader(row.status)
				_, _ = io.WriteString(w, row.body)
			})
			names, err := client.ScopeCatalogue(t.Context())
			require.Equal(t, row.reason, registrar.ReasonOf(err))
			require.Equal(t, row.names, names)
		})
	}
}

// silent is a cluster of which no Pod asks for a token.
type silent struct{}

// Claims implements workload.Source.
func (silent) Claims(context.Context, string, assertion.Policy) (*assertion.Claims, error) {
	return nil, workload.ErrUnavailable
}

// Every member that can be sent is kept by the server and told again.
func TestEveryMemberOfAnAppIsKept(t *testing.T) {
	trusted, err := workload.New([]workload.Issuer{{Name: "prod", URL: "https://cluster.example", Audience: "a", Source: silent{}}}, time.Now)
	require.NoError(t, err)
	client := connect(t, tokenservertest.Start(t, tokenservertest.WithConfig(func(c *tokenserver.Config) { c.Workloads = trusted })))
	fields := registrar.Fields{
		ClientName: new("Portal"), GrantTypes: &[]string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken},
		RedirectURIs: &[]string{"https://a.example/cb"}, PostLogoutRedirectURIs: &[]string{"https://a.example/bye"},
		Scopes: &[]string{"openid"}, PublicKeys: &[]string{}, Audience: new(oauth.AudienceEveryone), Enabled: new(false),
		ClientURI: new("https://a.example/"), PolicyURI: new("https://b.example/"), TOSURI: new("https://c.example/"),
		IdentityProviders: &[]string{}, AssertionsWithoutExpiry: new(true), SkipUserConsent: new(false),
		TokenEndpointAuthMethod: new(oauth.AuthMethodSecretBasic), AccessTokenFormat: new("opaque"), AccessTokenSignedResponseAlg: new("RS256"),
		IDTokenSignedResponseAlg: new("ES256"), RefreshGraceSeconds: new(int64(0)),
		FederatedIdentities: &[]oauth.FederatedIdentity{{IssuerName: "prod", Subject: "system:serviceaccount:payments:gitproxy"}},
	}
	made, err := client.Register(t.Context(), "", fields)
	require.NoError(t, err)
	read, err := client.Read(t.Context(), made.App.ClientID)
	require.NoError(t, err)
	told, sent := members(t, read), members(t, fields)
	for name, value := range sent {
		require.Equal(t, value, told[name], name)
	}
	require.Len(t, sent, reflect.TypeFor[registrar.Fields]().NumField()-2, "all but the two that bring an app back")

	_, err = client.Update(t.Context(), made.App.ClientID, registrar.Fields{Audience: new(oauth.AudienceInternal), SkipUserConsent: new(true)})
	require.True(t, registrar.IsInvalid(err), "our server leaves that to administrators: %v", err)
	require.ErrorContains(t, err, "skip_user_consent")
	changed, err := client.Update(t.Context(), made.App.ClientID, registrar.Fields{FederatedIdentities: &[]oauth.FederatedIdentity{}})
	require.NoError(t, err)
	require.Empty(t, changed.FederatedIdentities, "none is sent as well")
}

func members(t *testing.T, body any) map[string]any {
	t.Helper()
	data, err := json.Marshal(body)
	require.NoError(t, err)
	var object map[string]any
	require.NoError(t, json.Unmarshal(data, &object))
	return object
}

func TestOneLogInServesManyCallsAndIsRenewed(t *testing.T) {
	var logins atomic.Int32
	server := tokenservertest.Start(t, tokenservertest.WithMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == oauth.PathToken {
				logins.Add(1)
			}
			if strings.HasSuffix(r.URL.Path, "/refused") && logins.Load() == 1 {
				// A token the server no longer accepts, as after a revocation.
				r.Header.Set("Authorization", "Bearer dead")
			}
			next.ServeHTTP(w, r)
		})
	}))
	client := connect(t, server)
	for range 5 {
		_, err := client.List(t.Context(), 0, 1)
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, logins.Load())

	_, err := client.Read(t.Context(), "refused")
	require.True(t, registrar.IsNotFound(err), "asked again with a new token: %v", err)
	require.EqualValues(t, 2, logins.Load())
}

// Who brings a token needs no credentials, and it is not repeated when it serves
// for nothing.
func TestATokenThatIsGivenTakesThePlaceOfALogin(t *testing.T) {
	server := tokenservertest.Start(t)
	form := strings.NewReader(url.Values{
		"grant_type": {oauth.GrantClientCredentials}, "client_id": {server.AdminClientID}, "client_secret": {server.AdminClientSecret},
	}.Encode())
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+oauth.PathToken, form)
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	var issued oauth.TokenResponse
	require.NoError(t, json.NewDecoder(response.Body).Decode(&issued))

	client := connect(t, server, func(c *registrar.Config) { c.ClientID, c.ClientSecret, c.Token = "", "", issued.AccessToken })
	_, err = client.List(t.Context(), 0, 10)
	require.NoError(t, err)
	const canary = "a-token-that-is-nobodys"
	client = connect(t, server, func(c *registrar.Config) { c.ClientID, c.ClientSecret, c.Token = "", "", canary })
	_, err = client.List(t.Context(), 0, 10)
	require.Error(t, err)
	require.NotContains(t, err.Error(), canary)
}
