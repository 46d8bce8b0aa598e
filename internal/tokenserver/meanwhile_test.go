// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// between does something once, as soon as the server has read or written a
// consent and before it goes on.
type between struct {
	storage.Storage
	mu sync.Mutex
	do func()
}

func (b *between) wrap(s storage.Storage) storage.Storage { b.Storage = s; return b }

func (b *between) next(do func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.do = do
}

func (b *between) pass() {
	b.mu.Lock()
	do := b.do
	b.do = nil
	b.mu.Unlock()
	if do != nil {
		do()
	}
}

func (b *between) Consent(ctx context.Context, userID, clientID, orgID string) (storage.Consent, error) {
	defer b.pass()
	return b.Storage.Consent(ctx, userID, clientID, orgID)
}

func (b *between) WidenConsent(ctx context.Context, consent storage.Consent, now time.Time) (storage.Consent, error) {
	defer b.pass()
	return b.Storage.WidenConsent(ctx, consent, now)
}

// TestARevocationOvertakesTheRequestThatIsOnItsWay: the person revokes the app in
// one window while an authorization request of another has looked at the consent
// already.
func TestARevocationOvertakesTheRequestThatIsOnItsWay(t *testing.T) {
	b := &between{}
	r := newRealm(t, tokenservertest.WithStorage(b.wrap))
	app := r.create(homeAdmin, `{"client_name":"web","grant_types":["authorization_code"],"scopes":["openid","profile"],
		"redirect_uris":["`+callback+`"]}`)
	v := r.signedIn("kim")
	revoke := func() {
		done := v.do(http.MethodPost, "/accounts/authorized-apps/revoke", form(v.get("/accounts/authorized-apps"), "client_id", app.ClientID))
		require.Equal(t, http.StatusSeeOther, done.StatusCode)
	}
	redeems := func(a answer) bool {
		location, err := url.Parse(a.Header.Get("Location"))
		require.NoError(t, err)
		status, _, _ := r.as(app).redeem(location.Query().Get("code"))
		return status == http.StatusOK
	}

	_, page := v.authorize(app, "openid profile")
	b.next(revoke)
	require.False(t, redeems(v.allow(page, "openid profile")), "revoked after it was allowed and before the code was made")

	what, a := v.authorize(app, "openid profile")
	if what == gotPage {
		a = v.allow(a, "openid profile")
	}
	require.True(t, redeems(a), "allowed again")
	b.next(revoke)
	what, a = v.authorize(app, "openid profile")
	require.Equal(t, gotCode, what, "what was on its way does not know yet")
	require.False(t, redeems(a), "revoked after the consent was read and before the code was made")
}

// TestAUserWhoWasSwitchedOffHalfWayStaysEnded: the server dies, or loses its
// database, in the middle of switching a federated user off.
func TestAUserWhoWasSwitchedOffHalfWayStaysEnded(t *testing.T) {
	faults := tokenservertest.NewFaults()
	a := newAsserting(t, nil, tokenservertest.WithStorage(faults.Wrap))
	_, tokens, _ := a.exchange(a.sign(a.claims()))
	status, info := a.userInfo(tokens.AccessToken)
	require.Equal(t, http.StatusOK, status)
	id, _ := info["sub"].(string)
	change := func(enabled string) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPatch,
			a.i.URL+oauth.PathOrganizations+"/"+a.i.OrgID+"/users/"+id, strings.NewReader(`{"enabled":`+enabled+`}`))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/json")
		response, err := adminClient(t, a.i).Do(request)
		require.NoError(t, err)
		_ = response.Body.Close()
		return response.StatusCode
	}

	require.Equal(t, http.StatusOK, change("true"), "a token for the client, before anything fails")
	faults.Break(tokenservertest.Refused, "RaiseEpoch")
	require.Equal(t, http.StatusServiceUnavailable, change("false"))
	faults.Mend()
	status, _ = a.userInfo(tokens.AccessToken)
	require.Equal(t, http.StatusUnauthorized, status)
	require.Equal(t, http.StatusOK, change("true"), "whoever looks meanwhile sees a user who is off")
	a.clock.advance(2 * time.Second) // of which the feed is read
	status, _ = a.userInfo(tokens.AccessToken)
	require.Equal(t, http.StatusUnauthorized, status, "what has ended stays so")
	_, tokens, _ = a.exchange(a.sign(a.claims()))
	status, _ = a.userInfo(tokens.AccessToken)
	require.Equal(t, http.StatusOK, status)
}

// TestATokenIsRevokedWhileItsHolderIsRefused: a token that is worth nothing at the
// moment ends all the same, since its holder may come back.
func TestATokenIsRevokedWhileItsHolderIsRefused(t *testing.T) {
	r := newRealm(t)
	for way, end := range map[string]func(token string){
		"revocation": func(token string) {
			status, failure := r.revoke(nil, "token", token)
			require.Equal(t, http.StatusOK, status, failure)
		},
		"sign-out of programs": func(token string) {
			status, body := r.call(token, http.MethodGet, "/accounts/api/logout", "")
			require.Equal(t, http.StatusNoContent, status, body)
		},
	} {
		for _, format := range []string{"jwt", "opaque"} {
			t.Run(way+" of "+format, func(t *testing.T) {
				app := r.create(homeAdmin, `{"client_name":"tool","grant_types":["password"],"scopes":["openid"],"audience":"everyone",
					"access_token_format":"`+format+`"}`)
				ended, kept := r.byPassword(app, "otto").AccessToken, r.byPassword(app, "otto").AccessToken
				audience := func(audience string) {
					status, body := r.by(homeAdmin, http.MethodPatch, r.apps+"/"+app.ClientID, `{"audience":"`+audience+`"}`)
					require.Equal(t, http.StatusOK, status, body)
				}
				audience("internal")
				status, _ := r.userInfo(kept)
				require.Equal(t, http.StatusUnauthorized, status, "refused meanwhile")
				end(ended)
				audience("everyone")
				status, _ = r.userInfo(kept)
				require.Equal(t, http.StatusOK, status)
				status, _ = r.userInfo(ended)
				require.Equal(t, http.StatusUnauthorized, status)
			})
		}
	}
}

// TestASecondWindowGoesOnAsNobodyElse: two organizations have a user of one name.
// The form of a window that is out of date goes on without a password only as the
// very account that was typed.
func TestASecondWindowGoesOnAsNobodyElse(t *testing.T) {
	w := newPersonWorld(t, webApp)
	hash := hashOfPassword(t)
	w.takeDirectory(func(_ *directory.Organization, u *directory.User) {
		if u != nil {
			u.PasswordHash = hash
			if u.ID == tokenservertest.OtherUserID {
				u.Username = "ulf"
			}
		}
	})
	signIn := "/accounts/sign-in"
	for typed, goesOn := range map[string]bool{
		"main.example/ulf": true, `Main\Ulf`: true, "ULF": true, "": true,
		"other.example/ulf": false, `Other\ulf`: false, "olga": false, "nobody/ulf": false,
	} {
		v := newVisitor(w)
		second := v.get(signIn)
		first := v.do(http.MethodPost, signIn, form(second, "username", "Main/ulf", "password", tokenservertest.Password))
		require.Equal(t, http.StatusSeeOther, first.StatusCode)
		late := v.do(http.MethodPost, signIn, form(second, "username", typed, "password", tokenservertest.Password))
		require.Equal(t, goesOn, late.StatusCode == http.StatusSeeOther, "%q: %s", typed, late.Status)
	}
}

// TestADisabledAppSendsNobodyAnywhere: what is refused at the authorization
// endpoint is no place to go on to after signing out either.
func TestADisabledAppSendsNobodyAnywhere(t *testing.T) {
	const goodbye = "https://app.example.com/goodbye"
	r := newRealm(t)
	app := r.create(manager, `{"client_name":"web","grant_types":["authorization_code"],"scopes":["openid"],
		"redirect_uris":["`+callback+`"],"post_logout_redirect_uris":["`+goodbye+`"]}`)
	logout := oauth.PathEndSession + "?" + url.Values{"client_id": {app.ClientID}, "post_logout_redirect_uri": {goodbye}}.Encode()
	require.Equal(t, goodbye, newVisitor(r.personWorld).get(logout).Header.Get("Location"))
	status, body := r.by(homeAdmin, http.MethodPatch, r.apps+"/"+app.ClientID, `{"enabled":false}`)
	require.Equal(t, http.StatusOK, status, body)
	v := r.signedIn("kim")
	asked := v.get(logout)
	require.Empty(t, asked.Header.Get("Location"))
	require.NotContains(t, asked.Header.Get("Content-Security-Policy"), "app.example.com")
	done := v.do(http.MethodPost, "/accounts/sign-out", form(asked))
	require.Empty(t, done.Header.Get("Location"))
	require.Equal(t, http.StatusSeeOther, v.get("/accounts/authorized-apps").StatusCode, "the person is signed out")
}

// TestRevokingCountsWhereverThePersonBelonged: consent is per organization, but
// who revokes an app after moving to another one means the app.
func TestRevokingCountsWhereverThePersonBelonged(t *testing.T) {
	r := newRealm(t)
	belongs := func(org string) {
		require.NoError(t, r.i.Server.TakeDirectory(t.Context(), realmDirectory(t, func(u *directory.User) {
			if u.ID == kimID {
				u.OrganizationID = org
			}
		})))
	}
	app := r.create(homeAdmin, `{"client_name":"web","grant_types":["authorization_code"],"scopes":["openid"],"audience":"everyone",
		"redirect_uris":["`+callback+`"]}`)
	before := r.signedIn("kim")
	_, page := before.authorize(app, "openid")
	require.Equal(t, http.StatusSeeOther, before.allow(page, "openid").StatusCode)

	belongs(otherOrg)
	v := r.signedIn("kim")
	list := v.get("/accounts/authorized-apps")
	require.Contains(t, list.body, app.ClientID)
	done := v.do(http.MethodPost, "/accounts/authorized-apps/revoke", form(list, "client_id", app.ClientID))
	require.NotContains(t, v.get(done.Header.Get("Location")).body, `value="`+app.ClientID+`"`, "it is gone from the list")

	belongs(homeOrg)
	what, _ := r.signedIn("kim").authorize(app, "openid")
	require.Equal(t, gotPage, what)
}

// TestAnAppDoesNotFollowItsOwnerToAnotherOrganization: an app is answered with its
// owner, who is a user of its organization; one who has moved on is none.
func TestAnAppDoesNotFollowItsOwnerToAnotherOrganization(t *testing.T) {
	r := newRealm(t)
	app := r.create(homeAdmin, `{"client_name":"machine","grant_types":["client_credentials"],"owner_user_id":"`+kimID+`"}`)
	token := r.own(app.ClientID, app.ClientSecret)
	_, body := r.call(token, http.MethodGet, oauth.PathMe, "")
	require.Contains(t, body, kimID)
	require.NoError(t, r.i.Server.TakeDirectory(t.Context(), realmDirectory(t, func(u *directory.User) {
		if u.ID == kimID {
			u.OrganizationID = otherOrg
		}
	})))
	status, body := r.call(token, http.MethodGet, oauth.PathMe, "")
	require.Equal(t, http.StatusOK, status)
	require.NotContains(t, body, "kim@example.com")
	require.Contains(t, body, carlID, "the owner of the organization")
}
