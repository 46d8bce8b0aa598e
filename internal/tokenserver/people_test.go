// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// idClaims reads an id token without verifying it.
func idClaims(t *testing.T, raw string) jwt.MapClaims {
	t.Helper()
	claims := jwt.MapClaims{}
	_, _, err := jwt.NewParser().ParseUnverified(raw, claims)
	require.NoError(t, err)
	return claims
}

func (w *personWorld) takeDirectory(change func(*directory.Organization, *directory.User)) {
	w.t.Helper()
	require.NoError(w.t, w.i.Server.TakeDirectory(w.t.Context(), tokenservertest.Directory(change)))
}

func TestGroupsAreAScopeAndAClaim(t *testing.T) {
	a := newAsserting(t, map[string]any{"scopes": []string{"openid", "profile", "groups"}})
	groups := func(trusted bool) {
		a.takeDirectory(func(o *directory.Organization, _ *directory.User) {
			if o != nil && len(o.IdentityProviders) > 0 {
				o.IdentityProviders[0].TrustAssertedGroups = trusted
			}
		})
	}
	groups(true)
	_, tokens, _ := a.exchange(a.sign(a.claims()))
	require.Equal(t, "openid profile groups", tokens.Scope)
	require.Equal(t, []any{"community"}, idClaims(t, tokens.IDToken)["groups"])
	_, info := a.userInfo(tokens.AccessToken)
	require.Equal(t, []any{"community"}, info["groups"])

	_, narrow, _ := a.exchange(a.sign(a.claims()), "scope", "openid profile")
	require.NotContains(t, idClaims(t, narrow.IDToken), "groups", "the scope was not granted")
	_, info = a.userInfo(narrow.AccessToken)
	require.NotContains(t, info, "groups")

	groups(false)
	_, info = a.userInfo(tokens.AccessToken)
	require.NotContains(t, info, "groups", "the provider is trusted with groups no more")
	_, tokens, _ = a.exchange(a.sign(a.claims()))
	require.NotContains(t, idClaims(t, tokens.IDToken), "groups")
}

func TestGroupsOfALocalUserComeFromTheConfiguration(t *testing.T) {
	w := newPersonWorld(t, strings.Replace(webApp, `"openid",`, `"openid","groups",`, 1))
	w.takeDirectory(func(_ *directory.Organization, u *directory.User) {
		if u != nil {
			u.Groups = []string{"developers", "on call"}
		}
	})
	for scopes, want := range map[string]any{"openid groups": []any{"developers", "on call"}, "openid": nil} {
		_, tokens, failure := w.redeem(w.code(func(c *storage.AuthorizationCode) { c.Scopes = strings.Fields(scopes) }))
		require.Empty(t, failure)
		_, info := w.userInfo(tokens.AccessToken)
		require.Equal(t, want, info["groups"], scopes)
		require.Equal(t, want, idClaims(t, tokens.IDToken)["groups"], scopes)
	}
}

func TestADisabledFederatedUserMayNothing(t *testing.T) {
	a := newAsserting(t, nil)
	_, tokens, _ := a.exchange(a.sign(a.claims()))
	_, info := a.userInfo(tokens.AccessToken)
	id := info["sub"].(string)
	set := func(body string) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPatch,
			a.i.URL+oauth.PathOrganizations+"/"+a.i.OrgID+"/users/"+id, strings.NewReader(body))
		require.NoError(t, err)
		response, err := adminClient(t, a.i).Do(request)
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		return response.StatusCode
	}
	require.Equal(t, http.StatusOK, set(`{"enabled":false}`))
	status, _ := a.userInfo(tokens.AccessToken)
	require.Equal(t, http.StatusUnauthorized, status, "its token has ended")
	code, _, failure := a.exchange(a.sign(a.claims()))
	require.Equal(t, http.StatusBadRequest, code)
	require.Equal(t, oauth.ErrorResponse{Error: "invalid_grant", ErrorDescription: "the assertion is not accepted: the account is disabled"}, failure)

	require.Equal(t, http.StatusOK, set(`{"enabled":true}`))
	status, _ = a.userInfo(tokens.AccessToken)
	require.Equal(t, http.StatusUnauthorized, status, "what has ended does not come back")
}

func TestNamesInAssertionsAreComparedByOneRule(t *testing.T) {
	a := newAsserting(t, nil)
	subject := func(name string) any {
		claims := a.claims()
		claims["sub"] = "v2|" + tokenservertest.ProviderID + "|" + name
		_, tokens, failure := a.exchange(a.sign(claims))
		require.Empty(t, failure, name)
		_, info := a.userInfo(tokens.AccessToken)
		return info["sub"]
	}
	require.Equal(t, subject("No\u00ebl"), subject("NOE\u0308L"))
	require.NotEqual(t, subject("ilker"), subject("\u0131lker"))
	claims := a.claims()
	claims["sub"] = "v2|" + tokenservertest.ProviderID + "|j|John\u202e|Smith|j@example.com|[]"
	_, _, failure := a.exchange(a.sign(claims))
	require.Equal(t, "the assertion is not accepted: sub contains a format character (U+202E), which is invisible and changes what is seen",
		failure.ErrorDescription)
}

// TestALineEndIsPartOfNoToken goes through every door at which a stranger's
// base64 arrives over HTTP.
func TestALineEndIsPartOfNoToken(t *testing.T) {
	a := newAsserting(t, nil)
	raw := a.sign(a.claims())
	parts := strings.Split(raw, ".")
	for i := range parts {
		for _, end := range []string{"\n", "\r", "\r\n"} {
			broken := append([]string{}, parts...)
			broken[i] = broken[i][:4] + end + broken[i][4:]
			status, _, failure := a.exchange(strings.Join(broken, "."))
			require.Equal(t, http.StatusBadRequest, status, "part %d of the assertion", i)
			require.Equal(t, "invalid_grant", failure.Error)
		}
	}
	status, _, _ := a.exchange(raw)
	require.Equal(t, http.StatusOK, status, "the same without")

	w := newPersonWorld(t, webApp)
	_, tokens, failure := w.redeem(w.code(nil))
	require.Empty(t, failure)
	require.NotEmpty(t, tokens.RefreshToken)
	cut := func(s string) string { return s[:9] + "\r\n" + s[9:] }
	require.True(t, w.introspect(w.app, tokens.AccessToken).Active)
	require.False(t, w.introspect(w.app, cut(tokens.AccessToken)).Active, "an access token")
	require.False(t, w.introspect(w.app, tokens.AccessToken+"\n").Active, "an access token")
	require.False(t, w.introspect(w.app, cut(tokens.RefreshToken)).Active, "a refresh token")
	code, _, _ := w.refresh(cut(tokens.RefreshToken))
	require.Equal(t, http.StatusBadRequest, code)
	code, _, _ = w.refresh(tokens.RefreshToken + "\n")
	require.Equal(t, http.StatusBadRequest, code)
	code, _, _ = w.refresh(tokens.RefreshToken)
	require.Equal(t, http.StatusOK, code)
}
