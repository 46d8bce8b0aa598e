// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// TestNobodyIsSpokenForFromOutside: an administrator of one organization makes an
// app that would spare the users of another the question. Records that hold both
// from before the rule spare nobody.
func TestNobodyIsSpokenForFromOutside(t *testing.T) {
	r := newRealm(t)
	both := strings.Replace(`{"client_name":"trap",`+privateApp, `"skip`, `"audience":"everyone","skip`, 1)
	for _, caller := range slices.Concat(sovereigns, managers) {
		status, text := r.by(caller, http.MethodPost, r.apps, both)
		assert.Equal(t, http.StatusBadRequest, status, "%s: %s", caller, text)
	}
	app := r.create(homeAdmin, strings.Replace(both, `"skip_user_consent":true,`, ``, 1))
	status, text := r.by(homeAdmin, http.MethodPatch, r.apps+"/"+app.ClientID, `{"skip_user_consent":true}`)
	require.Equal(t, http.StatusBadRequest, status, text)

	_, err := r.i.Store.UpdateApp(t.Context(), app.ClientID, r.clock.Now(), func(a *storage.App) error { a.SkipUserConsent = true; return nil })
	require.NoError(t, err)
	require.NoError(t, r.i.Server.Load(t.Context()))
	for _, person := range []string{"otto", "kim", "carl", "olga", "gina"} {
		v := r.signedIn(person)
		for _, scope := range []string{"full offline_access", "full", "offline_access profile", "profile"} {
			got, _ := v.authorize(app, scope)
			assert.Equal(t, gotPage, got, "%s, %s", person, scope)
		}
	}
}

// TestSkippingConsentNeverGivesWhatReachesFar, and what it gives is seen and
// revoked like everything else.
func TestSkippingConsentNeverGivesWhatReachesFar(t *testing.T) {
	r := newRealm(t)
	app := r.create(homeAdmin, strings.Replace(`{"client_name":"Spared",`+privateApp, `"view:environment"`, `"view:environment","read:full","manage:apis"`, 1))
	kim := r.signedIn("kim")
	for _, scope := range []string{"full", "read:full", "offline_access", "manage:apis", "profile offline_access", ""} {
		got, _ := kim.authorize(app, scope)
		assert.Equal(t, gotPage, got, "%q", scope)
	}
	got, a := kim.authorize(app, modest)
	require.Equal(t, gotCode, got)
	token := r.redeemed(app, a).AccessToken
	require.Contains(t, kim.get("/accounts/authorized-apps").body, "Spared", "she never saw a page, and sees the app")
	got, unused := kim.authorize(app, modest)
	require.Equal(t, gotCode, got)
	kim.revokeOnPage(app)
	status, _ := r.call(token, http.MethodGet, oauth.PathProfile, "")
	assert.Equal(t, http.StatusUnauthorized, status)
	location, _ := url.Parse(unused.Header.Get("Location"))
	_, _, failure := r.as(app).redeem(location.Query().Get("code"))
	assert.Equal(t, oauth.CodeInvalidGrant, failure.Error, "an unused code")

	for name, caller := range map[string]string{"otto": "of another organization", "olga": "of the one above", "gina": "of the one below"} {
		got, _ := r.signedIn(name).authorize(app, "profile")
		assert.Contains(t, got, "neither", "the app is not for a user %s", caller)
	}
}

func (v *visitor) revokeOnPage(app oauth.ConnectedApp) {
	v.t.Helper()
	page := v.get("/accounts/authorized-apps")
	done := v.do(http.MethodPost, "/accounts/authorized-apps/revoke", form(page, "client_id", app.ClientID))
	require.Equal(v.t, http.StatusSeeOther, done.StatusCode)
}

// TestRevokingEndsAllThatAnAppHoldsForAPerson, in each format of token, with a
// consent on record and without one.
func TestRevokingEndsAllThatAnAppHoldsForAPerson(t *testing.T) {
	r := newRealm(t)
	for _, format := range []string{"jwt", "opaque"} {
		app := r.create(homeAdmin, `{"client_name":"app","access_token_format":"`+format+`","grant_types":["authorization_code","refresh_token","password"],
			"redirect_uris":["`+callback+`"],"scopes":["openid","profile","offline_access"]}`)
		kim := r.signedIn("kim")
		password := r.byPassword(app, "kim").AccessToken
		kim.revokeOnPage(app)
		status, _ := r.userInfo(password)
		assert.Equal(t, http.StatusUnauthorized, status, "%s: a token of the password grant, no consent on record", format)

		got, page := kim.authorize(app, "openid offline_access")
		require.Equal(t, gotPage, got)
		tokens := r.redeemed(app, kim.allow(page, "openid offline_access"))
		password = r.byPassword(app, "kim").AccessToken
		others := r.byPassword(app, "carl").AccessToken
		kim.revokeOnPage(app)
		for _, token := range []string{tokens.AccessToken, password} {
			dead, _ := r.userInfo(token)
			assert.Equal(t, http.StatusUnauthorized, dead, format)
		}
		_, _, failure := r.as(app).refresh(tokens.RefreshToken)
		assert.Equal(t, oauth.CodeInvalidGrant, failure.Error)
		status, _ = r.userInfo(others)
		assert.Equal(t, http.StatusOK, status, "%s: what the app holds for others goes on", format)
	}
}

// TestSkippingConsentIsAnAdministratorsWord: who may set it, alone and together
// with other members.
func TestSkippingConsentIsAnAdministratorsWord(t *testing.T) {
	r := newRealm(t)
	kim := r.signedIn("kim")
	for _, caller := range slices.Concat(sovereigns, managers) {
		app := r.create(homeAdmin, strings.Replace(`{"client_name":"app",`+privateApp, `"skip_user_consent":true,`, ``, 1))
		for _, body := range []string{`{"skip_user_consent":true}`, `{"skip_user_consent":true,"scopes":["profile","view:environment"]}`,
			`{"skip_user_consent":true,"redirect_uris":["` + callback + `","https://evil.example.com/"]}`} {
			status, text := r.by(caller, http.MethodPatch, r.apps+"/"+app.ClientID, body)
			want := http.StatusBadRequest
			if slices.Contains(sovereigns, caller) {
				want = http.StatusOK
			}
			assert.Equal(t, want, status, "%s: %s", caller, text)
		}
	}
	app := r.create(homeAdmin, `{"client_name":"app",`+privateApp)
	got, _ := kim.authorize(app, modest)
	require.Equal(t, gotCode, got)
	status, _ := r.by(homeAdmin, http.MethodPatch, r.apps+"/"+app.ClientID, `{"skip_user_consent":false}`)
	require.Equal(t, http.StatusOK, status)
	got, _ = kim.authorize(app, modest)
	require.Equal(t, gotPage, got, "what went on record under it was not her own consent")
}

// TestARestoredAppIsAnotherApp: nobody's consent, token or open form outlives a
// deletion, whoever brings the id back.
func TestARestoredAppIsAnotherApp(t *testing.T) {
	r := newRealm(t)
	carl := r.signedIn("carl")
	for _, caller := range managers {
		app := r.create(homeAdmin, `{"client_name":"app",`+privateApp)
		_, page := carl.authorize(app, farAndOff)
		tokens := r.redeemed(app, carl.allow(page, farAndOff))
		_, open := carl.authorize(app, "full view:environment")
		status, _ := r.by(caller, http.MethodDelete, r.apps+"/"+app.ClientID, "")
		require.Equal(t, http.StatusNoContent, status)
		status, text := r.by(caller, http.MethodPost, r.apps, strings.Replace(`{"client_name":"app","client_id":"`+app.ClientID+`",
			"client_secret":"a secret of the attacker",`+privateApp, `"skip_user_consent":true,`, ``, 1))
		if caller == powerful {
			require.NotEqual(t, app.ClientID, r.decode(text).ClientID, "only the holder of manage:orgconnapps restores")
			continue
		}
		require.Equal(t, http.StatusCreated, status, text)
		got, _ := carl.authorize(app, farAndOff)
		assert.Equal(t, gotPage, got, caller)
		assert.NotContains(t, carl.allow(open, "full view:environment").Header.Get("Location"), "code=", "the form of the app that was")
		status, _ = r.userInfo(tokens.AccessToken)
		assert.Equal(t, http.StatusUnauthorized, status)
		app.ClientSecret = "a secret of the attacker"
		_, _, failure := r.as(app).refresh(tokens.RefreshToken)
		assert.Equal(t, oauth.CodeInvalidGrant, failure.Error)
	}
}

// TestAFormAnswersForTheVersionItShowed: the app changes while the page is open.
func TestAFormAnswersForTheVersionItShowed(t *testing.T) {
	r := newRealm(t)
	carl := r.signedIn("carl")
	app := r.create(homeAdmin, `{"client_name":"app",`+privateApp)
	_, page := carl.authorize(app, "full")
	status, _ := r.by(manager, http.MethodPatch, r.apps+"/"+app.ClientID+"?resetSecret=true", `{}`)
	require.Equal(t, http.StatusOK, status)
	again := carl.allow(page, "full")
	require.Empty(t, again.Header.Get("Location"), "he is asked about the app as it is now")
	require.Contains(t, carl.allow(again, "full").Header.Get("Location"), "code=")
}

// TestAnAppThatChangedHandsHoldsNothing: its refresh tokens do not serve whoever
// took it over, and an administrator's own changes end none.
func TestAnAppThatChangedHandsHoldsNothing(t *testing.T) {
	r := newRealm(t)
	carl := r.signedIn("carl")
	for _, caller := range slices.Concat(sovereigns, managers) {
		app := r.create(homeAdmin, `{"client_name":"app",`+privateApp)
		_, page := carl.authorize(app, farAndOff)
		tokens := r.redeemed(app, carl.allow(page, farAndOff))
		status, text := r.by(caller, http.MethodPatch, r.apps+"/"+app.ClientID+"?resetSecret=true", `{}`)
		require.Equal(t, http.StatusOK, status, text)
		_, _, failure := r.as(r.decode(text)).refresh(tokens.RefreshToken)
		assert.Equal(t, slices.Contains(managers, caller), failure.Error != "", "%s: %s", caller, failure.Error)
	}
}

// TestAnAppOfAnotherKindIsAnotherApp: by way of client_credentials, where no
// consent counts, nobody gets at the consent of before.
func TestAnAppOfAnotherKindIsAnotherApp(t *testing.T) {
	r := newRealm(t)
	carl := r.signedIn("carl")
	for _, caller := range managers {
		app := r.create(homeAdmin, strings.NewReplacer(`"openid",`, ``, `,"offline_access"`, ``, `"skip_user_consent":true,`, ``, `"full"`, `"view:x"`).
			Replace(`{"client_name":"app",`+privateApp))
		_, page := carl.authorize(app, "profile view:x")
		token := r.redeemed(app, carl.allow(page, "profile view:x")).AccessToken
		for _, body := range []string{
			`{"grant_types":["client_credentials"]}`, `{"client_secret":"a secret of the attacker"}`, `{"grant_types":["authorization_code"]}`,
		} {
			status, text := r.by(caller, http.MethodPatch, r.apps+"/"+app.ClientID, body)
			require.Equal(t, http.StatusOK, status, text)
		}
		got, _ := carl.authorize(app, "profile view:x")
		assert.Equal(t, gotPage, got, caller)
		status, _ := r.call(token, http.MethodGet, oauth.PathProfile, "")
		assert.Equal(t, http.StatusUnauthorized, status, caller)
	}
}

// TestNoAppIsThePlatformItself: the client id of its own sign-in belongs to none.
func TestNoAppIsThePlatformItself(t *testing.T) {
	r := newRealm(t)
	for _, caller := range slices.Concat(sovereigns, managers) {
		status, text := r.by(caller, http.MethodPost, r.apps, `{"client_name":"x","client_id":"platform:sign-in",
			"client_secret":"a secret of the attacker","grant_types":["client_credentials"]}`)
		if status == http.StatusCreated {
			assert.NotEqual(t, "platform:sign-in", r.decode(text).ClientID, caller)
			continue
		}
		assert.Equal(t, http.StatusBadRequest, status, "%s: %s", caller, text)
	}
}

// TestRevokingWhatIsNoAppLeavesNothingBehind: a person cannot fill the memory of
// what has ended.
func TestRevokingWhatIsNoAppLeavesNothingBehind(t *testing.T) {
	r := newRealm(t)
	kim := r.signedIn("kim")
	before, err := r.i.Store.Epochs(t.Context())
	require.NoError(t, err)
	kim.revokeOnPage(oauth.ConnectedApp{ClientID: "nobody's"})
	after, err := r.i.Store.Epochs(t.Context())
	require.NoError(t, err)
	assert.Equal(t, before, after)
}
