// SPDX-License-Identifier: Apache-2.0

package management_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
)

const (
	ok      = http.StatusOK
	denied  = http.StatusUnauthorized
	missing = http.StatusNotFound
)

// TestAuthorization: every caller tries every operation in its own organization
// by the bare path, and in organization B by its path.
func TestAuthorization(t *testing.T) {
	s := start(t)
	s.user("administrator", ownerA, orgA, oauth.ScopeFull)
	s.user("managing administrator", ownerA, orgA, oauth.ScopeManageConnApps)
	s.user("reading administrator", ownerA, orgA, oauth.ScopeReadFull)
	s.user("administrator who allowed only the profile", ownerA, orgA, oauth.ScopeProfile, oauth.ScopeOpenID)
	s.user("member without the role", memberA, orgA, oauth.ScopeFull)
	s.user("disabled administrator", disabledA, orgA, oauth.ScopeFull)
	s.user("user nobody knows", "unknown", orgA, oauth.ScopeFull)
	s.client("managing app", orgA, oauth.ScopeManageConnApps)
	s.client("app with full", orgA, oauth.ScopeFull)
	s.client("reading app", orgA, oauth.ScopeReadConnectedApps)
	s.client("app with read:full", orgA, oauth.ScopeReadFull)
	s.client("app without permission", orgA, "view:environment")
	s.client("app that manages B", orgA, oauth.ScopeManageConnApps+"@"+orgB)
	s.client("app that manages A and B", orgA, oauth.ScopeManageConnApps+"@"+orgA, oauth.ScopeManageConnApps+"@"+orgB)
	s.client("app that reads A and manages B", orgA, oauth.ScopeReadConnectedApps, oauth.ScopeManageConnApps+"@"+orgB)
	s.client("app that manages A and reads B", orgA, oauth.ScopeManageConnApps+"@", oauth.ScopeReadConnectedApps+"@"+orgB)
	s.client("app limited to an environment", orgA, oauth.ScopeManageConnApps+"@"+orgA+"/"+envA)

	for caller, want := range map[string]struct{ readA, writeA, readB, writeB int }{
		"":                       {denied, denied, denied, denied},
		"no such token":          {denied, denied, denied, denied},
		"administrator":          {ok, ok, missing, missing},
		"managing administrator": {ok, ok, missing, missing},
		"reading administrator":  {ok, denied, missing, denied},
		"administrator who allowed only the profile": {denied, denied, denied, denied},
		"member without the role":                    {denied, denied, denied, denied},
		"disabled administrator":                     {denied, denied, denied, denied},
		"user nobody knows":                          {denied, denied, denied, denied},
		"managing app":                               {ok, ok, missing, missing},
		"app with full":                              {ok, ok, missing, missing},
		"reading app":                                {ok, denied, missing, denied},
		"app with read:full":                         {ok, denied, missing, denied},
		"app without permission":                     {denied, denied, denied, denied},
		"app that manages B":                         {denied, denied, ok, ok},
		"app that manages A and B":                   {ok, ok, ok, ok},
		"app that reads A and manages B":             {ok, denied, ok, ok},
		"app that manages A and reads B":             {ok, ok, ok, denied},
		"app limited to an environment":              {denied, denied, denied, denied},
	} {
		t.Run(caller, func(t *testing.T) {
			s.tryAll(t, caller, bareApps, "admin", want.readA, want.writeA)
			s.tryAll(t, caller, orgApps(orgA), "admin", want.readA, want.writeA)
			s.tryAll(t, caller, orgApps(orgB), "adminB", want.readB, want.writeB)
		})
	}
}

// tryAll runs every operation on a fresh app below base.
func (s *server) tryAll(t *testing.T, caller, base, keeper string, read, write int) {
	t.Helper()
	made := s.call(keeper, http.MethodPost, base, `{"client_name":"x","grant_types":["client_credentials"]}`).app(t, http.StatusCreated)
	one := base + "/" + made.ClientID
	for _, op := range []struct {
		method, path, body string
		want               int
	}{
		{http.MethodGet, base, "", read},
		{http.MethodHead, base, "", read},
		{http.MethodGet, one, "", read},
		{http.MethodGet, one + "/scopes", "", read},
		{http.MethodGet, one + "/secrets", "", read},
		{http.MethodPost, base, `{"client_name":"y","grant_types":["password"]}`, write},
		{http.MethodDelete, one + "/secrets/" + made.ClientSecretID, "", write},
		{http.MethodPatch, one, `{"client_name":"z"}`, write},
		{http.MethodPatch, one + "?resetSecret=true", `{}`, write},
		{http.MethodPut, one + "/scopes", `{"scopes":[{"scope":"a"}]}`, write},
		{http.MethodPatch, one + "/scopes", `{"scopes":[{"scope":"b"}]}`, write},
		{http.MethodDelete, one + "/scopes", `{"scopes":[{"scope":"a"}]}`, write},
		{http.MethodPost, one + "/secrets", `{"overlap_seconds":1}`, write},
		{http.MethodDelete, one, "", write},
	} {
		got := s.call(caller, op.method, op.path, op.body)
		switch op.want {
		case ok:
			require.Less(t, got.status, 300, "%s %s: %s", op.method, op.path, got.body)
		case denied:
			require.Equal(t, denied, got.status, "%s %s: %s", op.method, op.path, got.body)
			require.Contains(t, got.header.Get("WWW-Authenticate"), "Bearer")
		default:
			require.Equal(t, op.want, got.status, "%s %s: %s", op.method, op.path, got.body)
		}
	}
	if write != ok {
		now := s.call(keeper, http.MethodGet, one, "").app(t, http.StatusOK)
		require.Equal(t, made.Revision, now.Revision, "who is refused changes nothing")
	}
}

func TestWordsOfARefusal(t *testing.T) {
	s := start(t)
	s.client("reader", orgA, oauth.ScopeReadConnectedApps)
	s.user("member", memberA, orgA, oauth.ScopeFull)
	s.call("", http.MethodGet, bareApps, "").refused(t, http.StatusUnauthorized, invalidToken)
	require.Equal(t, "Bearer", s.call("", http.MethodGet, bareApps, "").header.Get("WWW-Authenticate"))
	dead := s.call("dead", http.MethodGet, bareApps, "")
	require.Equal(t, `Bearer error="invalid_token", error_description="`+invalidToken+`"`, dead.header.Get("WWW-Authenticate"))

	refused := s.call("reader", http.MethodPost, bareApps, userApp)
	refused.refused(t, http.StatusUnauthorized, "the token lacks the permission: in this organization one of the scopes full, manage:orgconnapps is needed")
	require.Equal(t, `Bearer error="insufficient_scope", scope="full manage:orgconnapps"`, refused.header.Get("WWW-Authenticate"))
	s.call("member", http.MethodGet, bareApps, "").refused(t, http.StatusUnauthorized, "the user of this token lacks the role organization_administrator")
	s.call("admin", http.MethodGet, orgApps(orgB), "").refused(t, http.StatusNotFound, "no such organization")
	s.call("admin", http.MethodGet, orgApps("nowhere"), "").refused(t, http.StatusNotFound, "no such organization")
	s.call("admin", http.MethodGet, bareApps+"?orgId="+orgB, "").refused(t, http.StatusNotFound, "no such organization")
	s.call("admin", http.MethodGet, orgApps(orgA)+"?orgId="+orgB, "").refused(t, http.StatusBadRequest, "query parameter orgId: contradicts the organization of the path")
}

func TestTheSchemeWordInLowerCase(t *testing.T) {
	s := start(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+bareApps, nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "bearer admin")
	require.Equal(t, http.StatusOK, s.send(r).status)
}

func TestAnAppOfAnotherOrganizationDoesNotExist(t *testing.T) {
	s := start(t)
	s.client("both", orgA, oauth.ScopeManageConnApps+"@"+orgA, oauth.ScopeManageConnApps+"@"+orgB)
	foreign := s.call("adminB", http.MethodPost, bareApps, userApp).app(t, http.StatusCreated)
	for _, caller := range []string{"admin", "user", "both"} {
		for _, base := range []string{bareApps, orgApps(orgA)} {
			for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodDelete} {
				s.call(caller, method, base+"/"+foreign.ClientID, "").refused(t, http.StatusNotFound, "no such connected app")
			}
			s.call(caller, http.MethodPut, base+"/"+foreign.ClientID+"/scopes", `{}`).refused(t, http.StatusNotFound, "no such connected app")
		}
	}
	require.Equal(t, http.StatusOK, s.call("both", http.MethodGet, orgApps(orgB)+"/"+foreign.ClientID, "").status)
	require.Equal(t, 0, decode[oauth.List[oauth.ConnectedApp]](t, s.call("admin", http.MethodGet, bareApps+"?search=GitProxy", "").body).Total)
}

// TestPrivilegesDoNotGrow: what an app may hand to another app.
func TestPrivilegesDoNotGrow(t *testing.T) {
	s := start(t)
	s.client("both", orgA, oauth.ScopeManageConnApps+"@"+orgA, oauth.ScopeManageConnApps+"@"+orgB)
	onlyUsers := func(scope string) string {
		return "scopes: " + scope + " reaches a client_credentials app only through an administrator who is signed in as a user, or the server's configuration"
	}
	in := func(scope, org string) string {
		return `{"scopes":[{"scope":"` + scope + `","context_params":{"org":"` + org + `"}}]}`
	}
	for _, scope := range []string{"full", "read:full", "manage:orgconnapps"} {
		t.Run(scope+" reaches an app only through a user", func(t *testing.T) {
			app := s.clientCredentialsApp()
			one := bareApps + "/" + app.ClientID
			plain := `{"scopes":[{"scope":"` + scope + `"}]}`
			s.call("admin", http.MethodPut, one+"/scopes", plain).refused(t, http.StatusBadRequest, onlyUsers(scope))
			s.call("admin", http.MethodPatch, one+"/scopes", in(scope, orgA)).refused(t, http.StatusBadRequest, onlyUsers(scope))
			s.call("admin", http.MethodPatch, one, `{"scopes":["`+scope+`"]}`).refused(t, http.StatusBadRequest, onlyUsers(scope))
			s.call("admin", http.MethodPost, bareApps, `{"client_name":"x","grant_types":["client_credentials"],"scopes":["`+scope+`"]}`).
				refused(t, http.StatusBadRequest, onlyUsers(scope))
			require.Len(t, s.scopes(app.ClientID), 1)

			require.Equal(t, http.StatusNoContent, s.call("user", http.MethodPut, one+"/scopes", plain).status)
			require.Equal(t, http.StatusNoContent, s.call("admin", http.MethodPatch, one+"/scopes", `{"scopes":[{"scope":"more"}]}`).status, "what is there may stay")
			require.Equal(t, http.StatusNoContent, s.call("admin", http.MethodPut, one+"/scopes", `{}`).status, "and may go")
		})
	}
	t.Run("an app for users does not smuggle it by a change of its grant", func(t *testing.T) {
		app := s.create(`{"client_name":"x","grant_types":["password"],"scopes":["full"]}`)
		s.call("admin", http.MethodPatch, bareApps+"/"+app.ClientID, `{"grant_types":["client_credentials"]}`).refused(t, http.StatusBadRequest, onlyUsers("full"))
	})
	t.Run("nor for another organization", func(t *testing.T) {
		app := s.clientCredentialsApp()
		one := bareApps + "/" + app.ClientID + "/scopes"
		s.call("user", http.MethodPut, one, in("manage:orgconnapps", orgB)).refused(t, http.StatusBadRequest, "scopes: manage:orgconnapps: no organization "+orgB)
		s.call("admin", http.MethodPut, one, in("view:environment", orgB)).refused(t, http.StatusBadRequest, "scopes: view:environment: no organization "+orgB)
		require.Equal(t, http.StatusNoContent, s.call("admin", http.MethodPut, one, in("read:orgconnapps", childA)).status, "an administrator reaches what is below")
		require.Equal(t, http.StatusNoContent, s.call("admin", http.MethodPut, one, in("view:environment", childA)).status, "below the own organization is fine")
		require.Equal(t, http.StatusNoContent, s.call("both", http.MethodPut, one, in("read:orgconnapps", orgB)).status, "who manages both may")
	})
	t.Run("nor by the credentials of an app that holds more", func(t *testing.T) {
		app := s.clientCredentialsApp()
		one := bareApps + "/" + app.ClientID
		require.Equal(t, http.StatusNoContent, s.call("both", http.MethodPut, one+"/scopes", in("read:orgconnapps", orgB)).status)
		message := "the app holds the scope read:orgconnapps in organization " + orgB + ", which this token does not; its credentials are made by those who hold it"
		s.call("admin", http.MethodPost, one+"/secrets", `{"overlap_seconds":1}`).refused(t, http.StatusUnauthorized, message)
		s.call("admin", http.MethodPatch, one+"?resetSecret=true", ``).refused(t, http.StatusUnauthorized, message)
		s.call("admin", http.MethodPatch, one, `{"client_secret":"sixteen characters"}`).refused(t, http.StatusUnauthorized, message)
		require.True(t, s.accepts(app.ClientID, app.ClientSecret))
		require.Equal(t, http.StatusCreated, s.call("both", http.MethodPost, one+"/secrets", `{"overlap_seconds":1}`).status)
	})
	t.Run("skipping consent is for administrators who signed in", func(t *testing.T) {
		app := s.create(userApp)
		one := bareApps + "/" + app.ClientID
		message := "skip_user_consent: only an administrator who is signed in as a user may set it"
		s.call("admin", http.MethodPatch, one, `{"skip_user_consent":true}`).refused(t, http.StatusBadRequest, message)
		require.True(t, s.call("user", http.MethodPatch, one, `{"skip_user_consent":true}`).app(t, http.StatusOK).SkipUserConsent)
		require.True(t, s.call("admin", http.MethodPatch, one, `{"skip_user_consent":true}`).app(t, http.StatusOK).SkipUserConsent, "what is there may stay")
	})
}
