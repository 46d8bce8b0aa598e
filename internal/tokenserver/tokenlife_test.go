// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// introspect asks about a token as an app, by Basic.
func (w *personWorld) introspect(app oauth.ConnectedApp, token string) oauth.Introspection {
	w.t.Helper()
	response, body := post(w.t, w.i.URL+oauth.PathIntrospect, formType, url.Values{"token": {token}}.Encode(), basic(app.ClientID, app.ClientSecret))
	require.Equal(w.t, http.StatusOK, response.StatusCode, body)
	require.Equal(w.t, "no-store", response.Header.Get("Cache-Control"))
	var answer oauth.Introspection
	require.NoError(w.t, json.Unmarshal([]byte(body), &answer))
	if !answer.Active {
		require.JSONEq(w.t, `{"active":false}`, body, "nothing but that")
	}
	return answer
}

// revoke posts to the revocation endpoint and returns the status and the error.
func (w *personWorld) revoke(header http.Header, fields ...string) (int, oauth.ErrorResponse) {
	w.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	response, body := post(w.t, w.i.URL+oauth.PathRevoke, formType, form.Encode(), header)
	var failure oauth.ErrorResponse
	if body != "" {
		require.NoError(w.t, json.Unmarshal([]byte(body), &failure))
	}
	return response.StatusCode, failure
}

func (w *personWorld) machineToken(app oauth.ConnectedApp) string {
	w.t.Helper()
	_, body := post(w.t, w.i.URL+oauth.PathToken, formType, url.Values{"grant_type": {oauth.GrantClientCredentials}}.Encode(), basic(app.ClientID, app.ClientSecret))
	var tokens oauth.TokenResponse
	require.NoError(w.t, json.Unmarshal([]byte(body), &tokens))
	require.NotEmpty(w.t, tokens.AccessToken, body)
	return tokens.AccessToken
}

// assign puts scopes on an app as the administrator's client.
func (w *personWorld) assign(app oauth.ConnectedApp, scopes string) {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodPut, w.i.URL+oauth.PathConnectedApps+"/"+app.ClientID+"/scopes", strings.NewReader(scopes))
	require.NoError(w.t, err)
	response, err := adminClient(w.t, w.i).Do(request)
	require.NoError(w.t, err)
	_ = response.Body.Close()
	require.Equal(w.t, http.StatusNoContent, response.StatusCode)
}

func TestIntrospection(t *testing.T) {
	w := newPersonWorld(t, webApp)
	_, tokens, _ := w.redeem(w.code(nil))
	resource := register(t, w.i, machineApp)
	stranger := register(t, w.i, machineApp)
	w.assign(resource, `{"scopes":[{"scope":"introspect:tokens"},{"scope":"view:environment","context_params":{"org":"`+w.i.OrgID+`","envId":"`+tokenservertest.EnvID+`"}}]}`)
	issuer := w.i.URL + oauth.IssuerPath

	t.Run("an app asks about its own tokens", func(t *testing.T) {
		got := w.introspect(w.app, tokens.AccessToken)
		require.NotEmpty(t, got.ID)
		require.Equal(t, oauth.Introspection{
			Active: true, Scope: "openid profile offline_access", ClientID: w.app.ClientID, Username: "ulf", TokenType: "bearer",
			ExpiresAt: got.IssuedAt + 3600, IssuedAt: got.IssuedAt, Subject: tokenservertest.UserID, Audience: issuer, Issuer: issuer, ID: got.ID, OrgID: w.i.OrgID,
		}, got)
		refresh := w.introspect(w.app, tokens.RefreshToken)
		require.True(t, refresh.Active)
		require.Empty(t, refresh.TokenType, "a refresh token is no bearer of access")
		require.Equal(t, "ulf", refresh.Username)
	})
	t.Run("a resource server asks about tokens of its organization", func(t *testing.T) {
		require.True(t, w.introspect(resource, tokens.AccessToken).Active)
		require.False(t, w.introspect(resource, tokens.RefreshToken).Active, "a refresh token is its client's alone")
		own := w.introspect(resource, w.machineToken(resource))
		require.Equal(t, []oauth.TokenContext{{Scope: "view:environment", Org: w.i.OrgID, EnvID: tokenservertest.EnvID}}, own.Contexts)
		require.Equal(t, resource.ClientID, own.Subject)
		require.Empty(t, own.Username)
	})
	t.Run("everybody else learns nothing", func(t *testing.T) {
		require.False(t, w.introspect(stranger, tokens.AccessToken).Active)
		other := oauth.ConnectedApp{ClientID: tokenservertest.OtherAdminClientID, ClientSecret: w.i.OtherAdminClientSecret}
		require.False(t, w.introspect(other, tokens.AccessToken).Active)
		foreign := w.machineToken(other)
		require.True(t, w.introspect(other, foreign).Active)
		require.False(t, w.introspect(resource, foreign).Active, "introspect:tokens reaches its own organization")
		w.assign(resource, `{"scopes":[{"scope":"introspect:tokens","context_params":{"envId":"`+tokenservertest.EnvID+`"}}]}`)
		require.False(t, w.introspect(resource, tokens.AccessToken).Active, "limited to an environment it reaches nothing")
	})
	t.Run("what is no token, or none any more", func(t *testing.T) {
		for _, dead := range []string{"x", tokens.AccessToken + "x", tokens.IDToken, "a.b.c", strings.Repeat("A", 2000)} {
			require.False(t, w.introspect(w.app, dead).Active)
		}
		w.clock.advance(61 * time.Minute)
		require.False(t, w.introspect(w.app, tokens.AccessToken).Active, "expired")
		require.True(t, w.introspect(w.app, tokens.RefreshToken).Active)
		_, first, _ := w.refresh(tokens.RefreshToken)
		require.True(t, w.introspect(w.app, tokens.RefreshToken).Active, "the one before may still be exchanged")
		_, second, _ := w.refresh(first.RefreshToken)
		require.False(t, w.introspect(w.app, tokens.RefreshToken).Active)
		require.True(t, w.introspect(w.app, second.RefreshToken).Active)
	})
	t.Run("requests that are refused", func(t *testing.T) {
		for name, test := range map[string]struct {
			header http.Header
			body   string
			status int
			code   string
		}{
			"no client":       {nil, "token=x", 401, "invalid_client"},
			"a wrong secret":  {basic(w.app.ClientID, "wrong"), "token=x", 401, "invalid_client"},
			"no token":        {basic(w.app.ClientID, w.app.ClientSecret), "", 400, "invalid_request"},
			"two tokens":      {basic(w.app.ClientID, w.app.ClientSecret), "token=a&token=b", 400, "invalid_request"},
			"a bearer header": {http.Header{"Authorization": {"Bearer " + tokens.AccessToken}}, "token=x", 401, "invalid_client"},
		} {
			response, body := post(t, w.i.URL+oauth.PathIntrospect, formType, test.body, test.header)
			require.Equal(t, test.status, response.StatusCode, name)
			require.Contains(t, body, `"error":"`+test.code+`"`, name)
		}
		public := register(t, w.i, `{"client_name":"spa","grant_types":["authorization_code"],"redirect_uris":["`+callback+`"],"token_endpoint_auth_method":"none"}`)
		response, body := post(t, w.i.URL+oauth.PathIntrospect, formType, "token=x&client_id="+public.ClientID, nil)
		require.Equal(t, http.StatusUnauthorized, response.StatusCode)
		require.Contains(t, body, "introspection needs a client that authenticates")
		got, err := http.Get(w.i.URL + oauth.PathIntrospect)
		require.NoError(t, err)
		_ = got.Body.Close()
		require.Equal(t, http.StatusMethodNotAllowed, got.StatusCode)
	})
}

func TestOpaqueTokensAreIntrospectedToo(t *testing.T) {
	w := newPersonWorld(t, strings.Replace(webApp, `{`, `{"access_token_format":"opaque",`, 1))
	_, tokens, _ := w.redeem(w.code(nil))
	require.NotContains(t, tokens.AccessToken, ".")
	require.Equal(t, "ulf", w.introspect(w.app, tokens.AccessToken).Username)
	status, _ := w.revoke(nil, "token", tokens.AccessToken)
	require.Equal(t, http.StatusOK, status)
	require.False(t, w.introspect(w.app, tokens.AccessToken).Active)
}

func TestRevocation(t *testing.T) {
	w := newPersonWorld(t, webApp)
	other := register(t, w.i, machineApp)
	mine := basic(w.app.ClientID, w.app.ClientSecret)
	begin := func() oauth.TokenResponse {
		_, tokens, failure := w.redeem(w.code(nil))
		require.Empty(t, failure.Error)
		return tokens
	}
	works := func(access string) bool {
		status, _ := w.userInfo(access)
		return status == http.StatusOK
	}
	t.Run("whoever has an access token may end it", func(t *testing.T) {
		tokens := begin()
		status, _ := w.revoke(nil, "token", tokens.AccessToken, "token_type_hint", "access_token")
		require.Equal(t, http.StatusOK, status)
		require.False(t, works(tokens.AccessToken), "at once")
		_, next, failure := w.refresh(tokens.RefreshToken)
		require.Empty(t, failure.Error, "the authorization goes on")
		require.True(t, works(next.AccessToken))
	})
	t.Run("Basic and the same in the body, as one client sends", func(t *testing.T) {
		tokens := begin()
		status, _ := w.revoke(mine, "token", tokens.AccessToken, "client_id", w.app.ClientID, "client_secret", w.app.ClientSecret)
		require.Equal(t, http.StatusOK, status)
		require.False(t, works(tokens.AccessToken))
	})
	t.Run("a refresh token ends all that came of its authorization", func(t *testing.T) {
		tokens := begin()
		status, _ := w.revoke(mine, "token", tokens.RefreshToken, "token_type_hint", "access_token") // a wrong hint does no harm
		require.Equal(t, http.StatusOK, status)
		require.False(t, works(tokens.AccessToken))
		_, _, failure := w.refresh(tokens.RefreshToken)
		require.Equal(t, "invalid_grant", failure.Error)
	})
	t.Run("a name without a secret proves nothing, and needs not", func(t *testing.T) {
		tokens := begin()
		status, failure := w.revoke(nil, "token", tokens.AccessToken, "client_id", other.ClientID)
		require.Equal(t, http.StatusBadRequest, status)
		require.Equal(t, "unauthorized_client", failure.Error)
		require.True(t, works(tokens.AccessToken))
		status, _ = w.revoke(nil, "token", tokens.AccessToken, "client_id", w.app.ClientID)
		require.Equal(t, http.StatusOK, status)
		require.False(t, works(tokens.AccessToken))
		status, failure = w.revoke(nil, "token", tokens.RefreshToken, "client_id", w.app.ClientID)
		require.Equal(t, http.StatusUnauthorized, status)
		require.Equal(t, "invalid_client", failure.Error)
	})
	t.Run("a refresh token needs its client", func(t *testing.T) {
		tokens := begin()
		status, failure := w.revoke(nil, "token", tokens.RefreshToken)
		require.Equal(t, http.StatusUnauthorized, status)
		require.Equal(t, "invalid_client", failure.Error)
		status, failure = w.revoke(basic(other.ClientID, other.ClientSecret), "token", tokens.RefreshToken)
		require.Equal(t, http.StatusBadRequest, status)
		require.Equal(t, oauth.ErrorResponse{Error: "unauthorized_client", ErrorDescription: "the token was issued to another client"}, failure)
		status, failure = w.revoke(basic(other.ClientID, other.ClientSecret), "token", tokens.AccessToken)
		require.Equal(t, http.StatusBadRequest, status)
		require.Equal(t, "unauthorized_client", failure.Error)
		require.True(t, works(tokens.AccessToken))
	})
	t.Run("what is unknown or dead is no error", func(t *testing.T) {
		tokens := begin()
		for _, token := range []string{"x", tokens.AccessToken + "x", "e7b1bd0a-0000-4000-8000-000000000000"} {
			status, _ := w.revoke(nil, "token", token)
			require.Equal(t, http.StatusOK, status)
		}
		for range 2 {
			status, _ := w.revoke(nil, "token", tokens.AccessToken)
			require.Equal(t, http.StatusOK, status)
		}
	})
	t.Run("requests that are refused", func(t *testing.T) {
		status, failure := w.revoke(nil)
		require.Equal(t, http.StatusBadRequest, status)
		require.Equal(t, "invalid_request", failure.Error)
		status, failure = w.revoke(basic(w.app.ClientID, "wrong"), "token", "x")
		require.Equal(t, http.StatusUnauthorized, status)
		require.Equal(t, "invalid_client", failure.Error)
	})
}

func TestRevocationIsAudited(t *testing.T) {
	var log syncBuffer
	w := newPersonWorld(t, webApp, tokenservertest.WithConfig(func(c *tokenserver.Config) { c.Logger = slog.New(slog.NewJSONHandler(&log, nil)) }))
	_, tokens, _ := w.redeem(w.code(nil))
	_, _ = w.revoke(nil, "token", tokens.AccessToken)
	_, _ = w.revoke(basic(w.app.ClientID, w.app.ClientSecret), "token", tokens.RefreshToken)
	text := log.String()
	require.Equal(t, 2, strings.Count(text, `"action":"token_revoked"`), text)
	require.Contains(t, text, `"client_name":"web"`)
	for _, secret := range []string{tokens.AccessToken, tokens.RefreshToken, tokens.IDToken, w.app.ClientSecret} {
		require.NotContains(t, text, secret)
	}
}

// syncBuffer is a buffer that requests write to at the same time.
type syncBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
