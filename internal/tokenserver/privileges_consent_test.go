// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
)

const (
	privateApp = `"grant_types":["authorization_code","refresh_token"],"redirect_uris":["` + callback + `"],"skip_user_consent":true,
		"scopes":["profile","openid","view:environment","full","offline_access"]}`
	modest    = "profile view:environment"
	farAndOff = "openid full offline_access"
)

// effect is what a change means to consent.
type effect int

const (
	// nothing: nobody has more power than before.
	nothing effect = iota
	// touches: the app can do more; an administrator's word for others ends unless
	// an administrator made the change.
	touches
	// moves: there is another security version; everybody is asked again.
	moves
	// secret: who did not have one before has one now.
	secret
)

// changes is a row for every way to change an app that gives somebody power, and
// one for all that give none.
var changes = map[string]struct {
	does         effect
	method, path string
	body         string
	// before is sent by an administrator first.
	before string
	// endsSkip: an administrator's change ends skip_user_consent too.
	endsSkip bool
}{
	"redirect_uris":              {does: moves, body: `{"redirect_uris":["` + callback + `","https://evil.example.com/cb"]}`},
	"token_endpoint_auth_method": {does: moves, body: `{"token_endpoint_auth_method":"none"}`},
	"public_client":              {does: moves, body: `{"public_client":true}`},
	"public_keys":                {does: moves, body: `{"public_keys":["` + strings.ReplaceAll(attackerKey, "\n", `\n`) + `"]}`},
	"federated_identities":       {does: moves, body: `{"federated_identities":[` + attackerWorkload + `]}`},
	"owner_user_id":              {does: moves, body: `{"owner_user_id":"` + kimID + `"}`},
	"audience":                   {does: moves, body: `{"audience":"everyone"}`, endsSkip: true},
	"scopes":                     {does: touches, body: `{"scopes":["profile","openid","view:environment","full","offline_access","manage:apis"]}`},
	"PUT scopes": {does: touches, method: http.MethodPut, path: "/scopes",
		body: `{"scopes":["profile","openid","view:environment","full","offline_access","manage:apis"]}`},
	"PATCH scopes":              {does: touches, method: http.MethodPatch, path: "/scopes", body: `{"scopes":["manage:apis"]}`},
	"DELETE scopes":             {does: nothing, method: http.MethodDelete, path: "/scopes", body: `{"scopes":["manage:apis"]}`},
	"grant_types":               {does: touches, body: `{"grant_types":["authorization_code","refresh_token","password"]}`},
	"identity_providers":        {does: touches, body: `{"identity_providers":["` + homeIDP + `"]}`},
	"assertions_without_expiry": {does: touches, body: `{"assertions_without_expiry":true}`},
	"enabled":                   {does: touches, before: `{"enabled":false}`, body: `{"enabled":true}`},
	"client_secret":             {does: secret, body: `{"client_secret":"a secret of the attacker"}`},
	"resetSecret":               {does: secret, path: "?resetSecret=true", body: `{}`},
	"POST secrets":              {does: secret, method: http.MethodPost, path: "/secrets", body: `{"overlap_seconds":60}`},
	"several at once": {does: moves, body: `{"skip_user_consent":true,"client_name":"x","client_secret":"a secret of the attacker",
		"redirect_uris":["` + callback + `","https://evil.example.com/"]}`},
	"what gives no power": {does: nothing, body: `{"client_name":"y","client_uri":"https://a.example","policy_uri":"https://a.example",
		"tos_uri":"https://a.example","generate_iss_claim_without_token":true,"idprovider_id":"i","access_token_format":"opaque","id_token_signed_response_alg":"ES256",
		"access_token_signed_response_alg":"RS256","post_logout_redirect_uris":["https://a.example/"],"refresh_grace_seconds":5,"skip_user_consent":true}`},
}

const attackerKey = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEVs/o5+uQbTjL3chynL4wXgUg2R9
q9UU8I5mEovUf86QZ7kOBIjJwqnzD1omageEHWwHdBO6B+dFabmdT9POxg==
-----END PUBLIC KEY-----`

const attackerWorkload = `{"issuer_name":"` + realmCluster + `","subject":"system:serviceaccount:attacker:default"}`

// TestWhoChangesAnAppAndWhoIsAskedAgain: an app with skip_user_consent, used by
// one person under it, and with the full consent of an administrator. Every caller
// makes every change. Whoever is not asked again must have been safe.
func TestWhoChangesAnAppAndWhoIsAskedAgain(t *testing.T) {
	r := newRealm(t)
	kim, carl := r.signedIn("kim"), r.signedIn("carl")
	for name, change := range changes {
		method, n := change.method, 0
		if method == "" {
			method = http.MethodPatch
		}
		prepare := func() (oauth.ConnectedApp, string) {
			app := r.create(homeAdmin, `{"client_name":"app",`+privateApp)
			got, _ := kim.authorize(app, modest)
			require.Equal(t, gotCode, got, "an administrator has spared the user the question")
			got, page := carl.authorize(app, farAndOff)
			require.Equal(t, gotPage, got, "but not this one")
			token := r.redeemed(app, carl.allow(page, farAndOff)).AccessToken
			if change.before != "" {
				status, text := r.by(homeAdmin, http.MethodPatch, r.apps+"/"+app.ClientID, change.before)
				require.Equal(t, http.StatusOK, status, text)
			}
			return app, token
		}
		for _, caller := range slices.Concat(sovereigns, managers) {
			n++
			t.Run(name+" by "+caller, func(t *testing.T) {
				app, token := prepare()
				status, text := r.by(caller, method, r.apps+"/"+app.ClientID+change.path, change.body)
				require.Less(t, status, 300, text)
				wantKim, wantCarl := gotPage, gotPage
				admin := slices.Contains(sovereigns, caller)
				if change.does == nothing || admin && !change.endsSkip {
					wantKim = gotCode
				}
				if change.does == nothing || admin && change.does != moves {
					wantCarl = gotCode
				}
				got, _ := kim.authorize(app, modest)
				assert.Equal(t, wantKim, got, "the user under skip_user_consent")
				got, _ = carl.authorize(app, farAndOff)
				assert.Equal(t, wantCarl, got, "the user who had consented")
				assert.Equal(t, wantKim == gotCode, r.read(app).SkipUserConsent)
				if change.before == "" {
					alive, _ := r.userInfo(token)
					changedHands := !admin && (change.does == moves || change.does == secret)
					assert.Equal(t, changedHands, alive == http.StatusUnauthorized, "the access token from before: %d", alive)
				}
			})
		}
		t.Run(name+" by strangers", func(t *testing.T) {
			app, _ := prepare()
			before := r.read(app).Revision
			for caller, want := range strangers {
				status, text := r.by(caller, method, r.apps+"/"+app.ClientID+change.path, change.body)
				assert.Equal(t, want, status, "%s: %s", caller, text)
			}
			assert.Equal(t, before, r.read(app).Revision, "who is refused changes nothing")
		})
	}
}

// TestOneMoreSecretByRepeatedCreation is how somebody gets a secret of an app that
// is there already.
func TestOneMoreSecretByRepeatedCreation(t *testing.T) {
	r := newRealm(t)
	kim := r.signedIn("kim")
	for _, caller := range slices.Concat(sovereigns, managers) {
		t.Run(caller, func(t *testing.T) {
			body := `{"client_name":"app","external_id":"` + caller + `",` + privateApp
			app := r.create(homeAdmin, body)
			got, _ := kim.authorize(app, modest)
			require.Equal(t, gotCode, got)
			status, text := r.by(caller, http.MethodPost, r.apps, strings.Replace(body, `"skip_user_consent":true,`, ``, 1))
			require.Equal(t, http.StatusOK, status, text)
			want := gotPage
			if slices.Contains(sovereigns, caller) {
				want = gotCode
			}
			got, _ = kim.authorize(app, modest)
			assert.Equal(t, want, got)
		})
	}
}

// TestRotationsOfTheMakerAskNobody: an operator that registered the app and
// rotates its secret does not bring the page back, until an administrator took the
// app out of its hands.
func TestRotationsOfTheMakerAskNobody(t *testing.T) {
	r := newRealm(t)
	kim := r.signedIn("kim")
	for _, maker := range managers {
		t.Run(maker, func(t *testing.T) {
			app := r.create(maker, strings.Replace(`{"client_name":"app",`+privateApp, `"skip_user_consent":true,`, ``, 1))
			one := r.apps + "/" + app.ClientID
			status, text := r.by(homeAdmin, http.MethodPatch, one, `{"skip_user_consent":true}`)
			require.Equal(t, http.StatusOK, status, text)
			rotate := func(caller string) string {
				status, text := r.by(caller, http.MethodPatch, one+"?resetSecret=true", `{}`)
				require.Equal(t, http.StatusOK, status, text)
				got, _ := kim.authorize(app, modest)
				return got
			}
			assert.Equal(t, gotCode, rotate(maker))
			assert.Equal(t, gotCode, rotate(homeAdmin))
			assert.Equal(t, gotPage, rotate(maker), "an administrator had locked it out")
		})
	}
}
