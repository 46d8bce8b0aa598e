// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// introspect asks about a token as the app.
func (r *realm) introspect(app oauth.ConnectedApp, token string) oauth.Introspection {
	r.t.Helper()
	response, body := post(r.t, r.i.URL+oauth.PathIntrospect, formType,
		url.Values{"client_id": {app.ClientID}, "client_secret": {app.ClientSecret}, "token": {token}}.Encode(), nil)
	require.Equal(r.t, http.StatusOK, response.StatusCode, body)
	var found oauth.Introspection
	require.NoError(r.t, json.Unmarshal([]byte(body), &found))
	return found
}

// TestAScopeTakenFromAnAppIsLostAtOnce, by tokens of users.
func TestAScopeTakenFromAnAppIsLostAtOnce(t *testing.T) {
	r := newRealm(t)
	for _, format := range []string{"jwt", "opaque"} {
		app := r.create(homeAdmin, `{"client_name":"app","access_token_format":"`+format+`","grant_types":["authorization_code","refresh_token","password"],
			"redirect_uris":["`+callback+`"],"scopes":["openid","profile","email","full","offline_access"]}`)
		carl := r.signedIn("carl")
		_, page := carl.authorize(app, "openid profile email full offline_access")
		tokens := r.redeemed(app, carl.allow(page, "openid profile email full offline_access"))
		status, text := r.call(tokens.AccessToken, http.MethodGet, r.apps, "")
		require.Equal(t, http.StatusOK, status, text)

		status, text = r.by(manager, http.MethodPut, r.apps+"/"+app.ClientID+"/scopes", `{"scopes":["openid"]}`)
		require.Equal(t, http.StatusNoContent, status, text)
		for path, want := range map[string]int{
			r.apps: 401, oauth.PathProfile: 401, oauth.PathMe: 401, oauth.PathOrganizations + "/" + homeOrg: 401, oauth.PathUserInfo: 200,
		} {
			status, text := r.call(tokens.AccessToken, http.MethodGet, path, "")
			assert.Equal(t, want, status, "%s %s: %s", format, path, text)
		}
		_, claims := r.userInfo(tokens.AccessToken)
		assert.Equal(t, map[string]any{"sub": carlID, "preferred_username": "carl"}, claims, "without profile, email and full")
		assert.Equal(t, "openid", r.introspect(app, tokens.AccessToken).Scope)
		assert.Equal(t, "openid", r.introspect(app, tokens.RefreshToken).Scope)
		_, narrower, _ := r.as(app).refresh(tokens.RefreshToken)
		assert.Equal(t, "openid", narrower.Scope)
	}
}

// TestAScopeTakenFromAnAppInContextIsLostAtOnce, by tokens of client_credentials;
// taking one context away leaves the others, and never widens them.
func TestAScopeTakenFromAnAppInContextIsLostAtOnce(t *testing.T) {
	r := newRealm(t)
	in := func(org string) string {
		return `{"scope":"manage:orgconnapps","context_params":{"org":"` + org + `"}}`
	}
	below, home := oauth.PathOrganizations+"/"+belowOrg+"/connectedApplications", r.apps
	for _, format := range []string{"jwt", "opaque"} {
		app := r.create(homeAdmin, `{"client_name":"app","access_token_format":"`+format+`","grant_types":["client_credentials"],"scopes":[`+
			in(homeOrg)+`,`+in(belowOrg)+`,"introspect:tokens"]}`)
		token := r.own(app.ClientID, app.ClientSecret)
		sees := func(homeStatus, belowStatus int, scope string) {
			t.Helper()
			status, _ := r.call(token, http.MethodGet, home, "")
			assert.Equal(t, homeStatus, status, format)
			status, _ = r.call(token, http.MethodGet, below, "")
			assert.Equal(t, belowStatus, status, format)
			assert.Equal(t, scope, r.introspect(app, token).Scope)
		}
		scopes := func(list string) {
			t.Helper()
			status, text := r.by(manager, http.MethodPut, home+"/"+app.ClientID+"/scopes", `{"scopes":[`+list+`]}`)
			require.Equal(t, http.StatusNoContent, status, text)
		}
		sees(200, 200, "manage:orgconnapps introspect:tokens profile")
		require.True(t, r.introspect(app, r.tokens[manager]).Active)
		scopes(in(belowOrg) + `,"introspect:tokens"`)
		sees(401, 200, "manage:orgconnapps introspect:tokens profile")
		scopes(``)
		sees(401, 401, "profile")
		assert.False(t, r.introspect(app, r.tokens[manager]).Active, "nor does it introspect others' tokens any more")
		status, _ := r.by(homeAdmin, http.MethodPut, home+"/"+app.ClientID+"/scopes", `{"scopes":["manage:orgconnapps"]}`)
		require.Equal(t, http.StatusNoContent, status)
		sees(401, 401, "profile") // a wider assignment does not widen what was issued
	}
}

// TestWhoHandsOutWhatThisServerHonours: nobody gives more than they hold, to an
// app that acts for itself, by whatever way.
func TestWhoHandsOutWhatThisServerHonours(t *testing.T) {
	r := newRealm(t)
	const yes, no = true, false
	may := map[string]map[string]bool{ // scope → caller
		"full":               {homeAdmin: yes, rootAdmin: yes, configClient: no, manager: no, powerful: no, narrowAdmin: no},
		"read:full":          {homeAdmin: yes, rootAdmin: yes, configClient: no, manager: no, powerful: no, narrowAdmin: no},
		"manage:orgconnapps": {homeAdmin: yes, rootAdmin: yes, configClient: no, manager: no, powerful: no, narrowAdmin: yes},
		"read:orgconnapps":   {homeAdmin: yes, rootAdmin: yes, configClient: yes, manager: yes, powerful: yes, narrowAdmin: yes},
		"introspect:tokens":  {homeAdmin: yes, rootAdmin: yes, configClient: yes, manager: yes, powerful: yes, narrowAdmin: yes},
		"admin:cloudhub":     {homeAdmin: yes, rootAdmin: yes, configClient: yes, manager: yes, powerful: yes, narrowAdmin: yes},
	}
	for scope, callers := range may {
		for caller, allowed := range callers {
			t.Run(scope+" by "+caller, func(t *testing.T) {
				fresh := func(body string) string { return r.apps + "/" + r.create(homeAdmin, body).ClientID }
				machine, person := `{"client_name":"m","grant_types":["client_credentials"]}`, `{"client_name":"p","grant_types":["password"],"scopes":["`+scope+`"]}`
				list := `{"scopes":["` + scope + `"]}`
				for way, attempt := range map[string]func() (int, string){
					"POST": func() (int, string) {
						return r.by(caller, http.MethodPost, r.apps, strings.Replace(machine, `{`, `{"scopes":["`+scope+`"],`, 1))
					},
					"PATCH":        func() (int, string) { return r.by(caller, http.MethodPatch, fresh(machine), list) },
					"PUT scopes":   func() (int, string) { return r.by(caller, http.MethodPut, fresh(machine)+"/scopes", list) },
					"PATCH scopes": func() (int, string) { return r.by(caller, http.MethodPatch, fresh(machine)+"/scopes", list) },
					"the other kind": func() (int, string) {
						return r.by(caller, http.MethodPatch, fresh(person), `{"grant_types":["client_credentials"]}`)
					},
					"restore": func() (int, string) { return r.restore(caller, scope) },
					"in context, below": func() (int, string) {
						return r.by(caller, http.MethodPut, fresh(machine)+"/scopes", inContext(scope, belowOrg))
					},
				} {
					status, text := attempt()
					assert.Equal(t, allowed, status < 300, "%s: %d %s", way, status, text)
				}
				for _, org := range []string{rootOrg, otherOrg} {
					if caller == rootAdmin || caller == configClient {
						continue
					}
					status, text := r.by(caller, http.MethodPut, fresh(machine)+"/scopes", inContext(scope, org))
					assert.Equal(t, http.StatusBadRequest, status, text)
				}
			})
		}
	}
}

func inContext(scope, org string) string {
	return `{"scopes":[{"scope":"` + scope + `","context_params":{"org":"` + org + `"}}]}`
}

// restore deletes an app and brings it back under its id with a scope.
func (r *realm) restore(caller, scope string) (int, string) {
	app := r.create(homeAdmin, `{"client_name":"m","grant_types":["client_credentials"]}`)
	status, _ := r.by(homeAdmin, http.MethodDelete, r.apps+"/"+app.ClientID, "")
	require.Equal(r.t, http.StatusNoContent, status)
	return r.by(caller, http.MethodPost, r.apps, `{"client_name":"m","grant_types":["client_credentials"],"scopes":["`+scope+`"],
		"client_id":"`+app.ClientID+`","client_secret":"a secret of the attacker"}`)
}

// TestCredentialsOfAnAppThatHoldsMore: whoever makes a credential of an app, or
// wakes it up, holds what it holds.
func TestCredentialsOfAnAppThatHoldsMore(t *testing.T) {
	r := newRealm(t)
	for scope, holders := range map[string][]string{
		"full":               {homeAdmin, rootAdmin, powerful},
		"read:full":          {homeAdmin, rootAdmin, powerful},
		"manage:orgconnapps": slices.Concat(sovereigns, managers),
	} {
		for _, caller := range slices.Concat(sovereigns, managers) {
			t.Run(scope+" by "+caller, func(t *testing.T) {
				for _, way := range []struct{ method, path, body string }{
					{http.MethodPatch, "", `{"client_secret":"a secret of the attacker"}`},
					{http.MethodPatch, "?resetSecret=true", `{}`},
					{http.MethodPost, "/secrets", `{"overlap_seconds":1}`},
					{http.MethodPatch, "", `{"public_keys":["` + strings.ReplaceAll(attackerKey, "\n", `\n`) + `"]}`},
					{http.MethodPatch, "", `{"federated_identities":[` + attackerWorkload + `]}`},
					{http.MethodPatch, "", `{"token_endpoint_auth_method":"private_key_jwt"}`},
					{http.MethodPatch, "", `{"grant_types":["password"]}`},
					{http.MethodPatch, "", `{"grant_types":["password"],"client_secret":"a secret of the attacker"}`},
					{http.MethodPatch, "", `{"enabled":true}`},
					{http.MethodPost, "again", ""},
				} {
					app := r.create(homeAdmin, `{"client_name":"m","external_id":"`+uuid.NewString()+
						`","enabled":false,"grant_types":["client_credentials"],"scopes":["`+scope+`"]}`)
					path, sent := r.apps+"/"+app.ClientID+way.path, way.body
					if way.path == "again" {
						path, sent = r.apps, `{"client_name":"m","external_id":"`+app.ExternalID+`","grant_types":["client_credentials"]}`
					}
					status, text := r.by(caller, way.method, path, sent)
					if slices.Contains(holders, caller) {
						assert.Less(t, status, 300, "%v: %s", way, text)
						continue
					}
					assert.Equal(t, http.StatusUnauthorized, status, "%v: %s", way, text)
					assert.Equal(t, app.Revision, r.read(app).Revision)
				}
			})
		}
	}
}

// TestARecoverableSecretIsShownWhereANewOneWouldChangeNothing.
func TestARecoverableSecretIsShownWhereANewOneWouldChangeNothing(t *testing.T) {
	r := newRealm(t, tokenservertest.WithConfig(func(c *tokenserver.Config) { c.RecoverableSecrets = true }))
	everybody := slices.Concat(sovereigns, managers)
	for _, maker := range everybody {
		app := r.create(maker, strings.Replace(`{"client_name":"app",`+privateApp, `"skip_user_consent":true,`, ``, 1))
		for _, caller := range everybody {
			_, text := r.by(caller, http.MethodGet, r.apps+"/"+app.ClientID, "")
			shown := caller == maker || slices.Contains(sovereigns, caller)
			assert.Equal(t, shown, r.decode(text).ClientSecret != "", "made by %s, read by %s", maker, caller)
			_, text = r.by(caller, http.MethodPatch, r.apps+"/"+app.ClientID, `{"client_name":"app"}`)
			assert.Equal(t, shown, r.decode(text).ClientSecret != "", "made by %s, PATCH by %s", maker, caller)
		}
		for caller := range strangers {
			_, text := r.by(caller, http.MethodGet, r.apps+"/"+app.ClientID, "")
			assert.NotContains(t, text, "client_secret")
		}
	}
	strong := r.create(homeAdmin, `{"client_name":"m","grant_types":["client_credentials"],"scopes":["full"]}`)
	for _, caller := range everybody {
		_, text := r.by(caller, http.MethodGet, r.apps+"/"+strong.ClientID, "")
		shown := caller == powerful || slices.Contains(sovereigns, caller)
		assert.Equal(t, shown, r.decode(text).ClientSecret != "", caller)
	}
}

// TestAnAdministratorWhoIsDisabledOrDemotedIsNone: tokens of yesterday.
func TestAnAdministratorWhoIsDisabledOrDemotedIsNone(t *testing.T) {
	for name, change := range map[string]func(*directory.User){
		"disabled": func(u *directory.User) { u.Enabled = false },
		"demoted":  func(u *directory.User) { u.Roles = nil },
	} {
		r := newRealm(t)
		require.NoError(t, r.i.Server.TakeDirectory(t.Context(), realmDirectory(t, func(u *directory.User) {
			if u.ID == carlID {
				change(u)
			}
		})))
		for _, caller := range []string{homeAdmin, narrowAdmin} {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				status, _ := r.by(caller, method, r.apps, `{"client_name":"x","grant_types":["password"]}`)
				assert.Equal(t, http.StatusUnauthorized, status, "%s: %s", name, caller)
			}
		}
	}
}
