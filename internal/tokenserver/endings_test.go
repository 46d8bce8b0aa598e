// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/keys"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// ending is a row of docs/revocation.md.
type ending struct {
	cause func(*holdings)
	// undo takes the event back, where that is possible.
	undo func(*holdings)
}

// endings are the rows by their first column.
func endings() map[string]ending {
	return map[string]ending{
		"an access token (JWT) is revoked":        {cause: func(h *holdings) { h.revokeAny(h.jwt) }},
		"an access token (opaque) is revoked":     {cause: func(h *holdings) { h.revokeAny(h.opaque) }},
		"a refresh token is revoked":              {cause: func(h *holdings) { h.revokeAny(h.refreshToken) }},
		"a code is presented again":               {cause: func(h *holdings) { h.redeem(h.redeemed) }},
		"an old refresh token is presented again": {cause: func(h *holdings) { h.refresh(h.before[0]) }},
		"the user revokes the app":                {cause: (*holdings).revokeConsent},
		"the app is disabled": {
			cause: func(h *holdings) { h.manage(http.MethodPatch, "/"+h.app.ClientID, `{"enabled":false}`, http.StatusOK) },
			undo:  func(h *holdings) { h.manage(http.MethodPatch, "/"+h.app.ClientID, `{"enabled":true}`, http.StatusOK) },
		},
		"the app is deleted": {
			cause: func(h *holdings) { h.manage(http.MethodDelete, "/"+h.app.ClientID, "", http.StatusNoContent) },
			undo:  (*holdings).restoreApp,
		},
		"the app's secret is replaced": {cause: (*holdings).replaceSecret},
		"a scope is taken from the app": {cause: func(h *holdings) {
			h.manage(http.MethodPatch, "/"+h.app.ClientID, `{"scopes":["openid","offline_access"]}`, http.StatusOK)
		}},
		"the grant type refresh_token is taken":      grantTypes(`["authorization_code","password"]`),
		"the grant type authorization_code is taken": grantTypes(`["refresh_token","password"]`),
		"the user is disabled": configured(func(h *holdings) *directory.Directory {
			return h.people(func(u *directory.User) { u.Enabled = false })
		}),
		"the user is removed": configured(func(h *holdings) *directory.Directory {
			return h.people(func(u *directory.User) { u.ID = "77777777-7777-4777-8777-777777777777" })
		}),
		"the user's password changes": configured(func(h *holdings) *directory.Directory {
			other, err := user.HashPassword("another long password")
			require.NoError(h.t, err)
			return h.people(func(u *directory.User) { u.PasswordHash = other })
		}),
		"the user moves to another organization": configured(func(h *holdings) *directory.Directory {
			return h.people(func(u *directory.User) { u.OrganizationID = tokenservertest.OtherOrgID })
		}),
		"the organization is removed": configured(func(h *holdings) *directory.Directory { return h.without(tokenservertest.OrgID) }),
		"the signing keys are revoked": {cause: func(h *holdings) {
			require.NoError(h.t, h.i.Keyring.Rotate(h.t.Context(), true, true))
		}},
		"the user signs out": {cause: func(h *holdings) {
			h.do(http.MethodPost, "/accounts/sign-out", form(h.get("/accounts/sign-out")))
		}},
		"the encryption key changes": {cause: (*holdings).changeEncryptionKey},
		"`accessTokenLifetime` is lowered": {cause: func(h *holdings) {
			h.restart(h.people(nil), tokenservertest.WithTokenLifetime(time.Minute))
		}},
		"a backup from before it is restored": {},
	}
}

func grantTypes(without string) ending {
	set := func(list string) func(*holdings) {
		return func(h *holdings) {
			h.manage(http.MethodPatch, "/"+h.app.ClientID, `{"grant_types":`+list+`}`, http.StatusOK)
		}
	}
	return ending{cause: set(without), undo: set(`["authorization_code","refresh_token","password"]`)}
}

// configured is an event of the configuration, read again by the running server.
func configured(change func(*holdings) *directory.Directory) ending {
	return ending{
		cause: func(h *holdings) { require.NoError(h.t, h.i.Server.TakeDirectory(h.t.Context(), change(h))) },
		undo:  func(h *holdings) { require.NoError(h.t, h.i.Server.TakeDirectory(h.t.Context(), h.people(nil))) },
	}
}

func (h *holdings) revokeAny(token string) {
	h.t.Helper()
	status, failure := h.revoke(basic(h.app.ClientID, h.app.ClientSecret), "token", token)
	require.Equal(h.t, http.StatusOK, status, failure)
}

func (h *holdings) revokeConsent() {
	h.t.Helper()
	page := h.get("/accounts/authorized-apps")
	done := h.do(http.MethodPost, "/accounts/authorized-apps/revoke", form(page, "client_id", h.app.ClientID))
	require.Equal(h.t, http.StatusSeeOther, done.StatusCode, done.body)
}

func (h *holdings) replaceSecret() {
	h.t.Helper()
	h.app.ClientSecret = "a secret that replaces the former one"
	h.manage(http.MethodPatch, "/"+h.app.ClientID, `{"client_secret":"`+h.app.ClientSecret+`"}`, http.StatusOK)
}

// changeEncryptionKey wraps all keys anew, as `tokenserver keys rewrap` does, and
// starts the server with the new key alone.
func (h *holdings) changeEncryptionKey() {
	h.t.Helper()
	file := filepath.Join(h.folder, "encryption-key")
	next := make([]byte, keys.KeySize)
	_, _ = rand.Read(next)
	require.NoError(h.t, os.WriteFile(file+".new", []byte(base64.StdEncoding.EncodeToString(next)+"\n"), 0o600))
	both, err := keys.LoadEncryptionKeys([]string{file + ".new", file})
	require.NoError(h.t, err)
	keyring, err := keys.Open(h.t.Context(), h.i.Store, both, keys.Options{})
	require.NoError(h.t, err)
	_, err = keyring.Rewrap(h.t.Context())
	require.NoError(h.t, err)
	require.NoError(h.t, os.Rename(file+".new", file))
	h.restart(h.people(nil))
}

// documented reads the table of docs/revocation.md: the cells by event and
// column.
func documented(t *testing.T) map[string]map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/revocation.md")
	require.NoError(t, err)
	cells := func(line string) []string {
		var cells []string
		for cell := range strings.SplitSeq(strings.Trim(strings.TrimSpace(line), "|"), "|") {
			cells = append(cells, strings.TrimSpace(cell))
		}
		return cells
	}
	rows := map[string]map[string]string{}
	var columns []string
	for line := range strings.Lines(string(text)) {
		switch {
		case strings.HasPrefix(line, "| what happens "):
			columns = cells(line)
		case columns == nil || strings.HasPrefix(line, "|---"):
		case !strings.HasPrefix(line, "|"):
			columns = nil
		default:
			row := cells(line)
			require.Len(t, row, len(columns), line)
			rows[row[0]] = map[string]string{}
			for i, column := range columns[1:] {
				rows[row[0]][column] = row[i+1]
			}
		}
	}
	require.NotEmpty(t, rows)
	return rows
}

// TestWhatEndsWhat walks every cell of the table in docs/revocation.md: what ends
// is dead at once and stays so when the event is taken back, what is refused
// meanwhile is back then, and what stays works.
func TestWhatEndsWhat(t *testing.T) {
	known := endings()
	for name, cells := range documented(t) {
		if cells["test"] != "`TestWhatEndsWhat`" {
			continue
		}
		event, ok := known[name]
		require.True(t, ok, "%s is not walked", name)
		delete(known, name)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHoldings(t)
			if event.cause == nil {
				event.cause = func(restore func()) func(*holdings) { return func(*holdings) { restore() } }(h.backup())
			}
			h.issue()
			event.cause(h)
			h.expect(cells, false)
			if event.undo != nil {
				event.undo(h)
				h.expect(cells, true)
			}
		})
	}
	require.Empty(t, known, "what is walked stands in the document")
}

func (h *holdings) expect(cells map[string]string, undone bool) {
	h.t.Helper()
	alive := h.alive()
	alive["authorization code"] = h.redeems()
	for column, works := range alive {
		want := cells[column]
		require.Contains(h.t, []string{"ends", "stays", "refused meanwhile"}, want, column)
		assert.Equal(h.t, want == "stays" || undone && want == "refused meanwhile", works, "%s (%s), undone: %t", column, want, undone)
	}
}

// TestNothingComesBackOverARestart causes every event of the configuration, and
// those of an app, while or before the server is stopped.
func TestNothingComesBackOverARestart(t *testing.T) {
	for name, away := range map[string]func(*holdings) *directory.Directory{
		"the user is disabled": func(h *holdings) *directory.Directory {
			return h.people(func(u *directory.User) { u.Enabled = false })
		},
		"the user is removed": func(h *holdings) *directory.Directory {
			return h.people(func(u *directory.User) { u.ID = "77777777-7777-4777-8777-777777777777" })
		},
		"the user's password changes": func(h *holdings) *directory.Directory {
			return h.people(func(u *directory.User) { u.PasswordHash = hashOfPassword(h.t) })
		},
		"the user moves to another organization": func(h *holdings) *directory.Directory {
			return h.people(func(u *directory.User) { u.OrganizationID = tokenservertest.OtherOrgID })
		},
		"the organization is removed": func(h *holdings) *directory.Directory { return h.without(tokenservertest.OrgID) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHoldings(t)
			h.issue()
			cells := documented(t)[name]
			h.restart(away(h))
			h.expect(cells, false)
			h.restart(h.people(nil))
			h.expect(cells, true)
		})
	}
	for name, event := range endings() {
		if event.undo == nil || !strings.HasPrefix(name, "the app is ") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHoldings(t)
			h.issue()
			event.cause(h)
			h.restart(h.people(nil))
			h.expect(documented(t)[name], false)
			event.undo(h)
			h.restart(h.people(nil))
			h.expect(documented(t)[name], true)
		})
	}
}

func TestATakenScopeIsGoneFromTokensThatStay(t *testing.T) {
	h := newHoldings(t)
	h.issue()
	_, claims := h.userInfo(h.jwt)
	require.Equal(t, "Ulf User", claims["name"])
	h.manage(http.MethodPatch, "/"+h.app.ClientID, `{"scopes":["openid","offline_access"]}`, http.StatusOK)
	for _, token := range []string{h.jwt, h.opaque} {
		_, claims = h.userInfo(token)
		require.NotContains(t, claims, "name")
		require.Equal(t, "openid offline_access", h.introspect(h.app, token).Scope)
	}
}

func TestLoweringTheLifeOfTokensRevivesNone(t *testing.T) {
	h := newHoldings(t)
	h.restart(h.people(nil), tokenservertest.WithTokenLifetime(24*time.Hour))
	h.issue()
	h.revokeAny(h.jwt)
	h.revokeAny(h.refreshToken)
	h.restart(h.people(nil), tokenservertest.WithTokenLifetime(time.Minute))
	for range 23 {
		h.clock.advance(time.Hour)
		_, err := h.i.Store.CollectGarbage(t.Context(), h.clock.Now(), 1000)
		require.NoError(t, err)
		status, _ := h.userInfo(h.jwt)
		require.Equal(t, http.StatusUnauthorized, status)
		status, _ = h.userInfo(h.opaque)
		require.Equal(t, http.StatusUnauthorized, status)
	}
	h.restart(h.people(nil))
	status, _ := h.userInfo(h.jwt)
	require.Equal(t, http.StatusUnauthorized, status)
}

func TestATokenOfAnAppThatWasJustRestoredLives(t *testing.T) {
	w := newPersonWorld(t, machineApp)
	h := &holdings{visitor: newVisitor(w)}
	secret := "a secret that is known beforehand"
	h.manage(http.MethodPatch, "/"+w.app.ClientID, `{"client_secret":"`+secret+`"}`, http.StatusOK)
	w.app.ClientSecret = secret
	for range 3 {
		before := w.machineToken(w.app)
		h.manage(http.MethodDelete, "/"+w.app.ClientID, "", http.StatusNoContent)
		h.manage(http.MethodPost, "", strings.Replace(machineApp, `{`, `{"client_id":"`+w.app.ClientID+`","client_secret":"`+secret+`",`, 1),
			http.StatusCreated)
		after := w.machineToken(w.app)
		require.False(t, w.introspect(w.app, before).Active)
		require.True(t, w.introspect(w.app, after).Active, "issued after the app was restored, in the same second")
	}
}

func TestAnOrganizationThatIsGoneIsRefusedAtEveryDoor(t *testing.T) {
	h := newHoldings(t)
	h.issue()
	machine := register(t, h.i, machineApp)
	manager := adminClient(t, h.i)
	got, err := manager.Get(h.i.URL + oauth.PathConnectedApps)
	require.NoError(t, err)
	_ = got.Body.Close()
	require.Equal(t, http.StatusOK, got.StatusCode)
	require.NoError(t, h.i.Server.TakeDirectory(t.Context(), h.without(tokenservertest.OrgID)))

	mine, its := basic(h.app.ClientID, h.app.ClientSecret), basic(machine.ClientID, machine.ClientSecret)
	for name, door := range map[string]struct {
		path, body string
		header     http.Header
	}{
		"client credentials": {oauth.PathToken, "grant_type=client_credentials", its},
		"authorization code": {oauth.PathToken, url.Values{"grant_type": {"authorization_code"}, "code": {h.codes[0]}, "redirect_uri": {callback},
			"code_verifier": {verifier}}.Encode(), mine},
		"refresh token": {oauth.PathToken, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {h.refreshToken}}.Encode(), mine},
		"password": {oauth.PathToken, url.Values{"grant_type": {"password"}, "username": {"ulf"},
			"password": {tokenservertest.Password}}.Encode(), mine},
		"introspection": {oauth.PathIntrospect, "token=" + h.jwt, its},
		"revocation":    {oauth.PathRevoke, "token=" + h.jwt, its},
	} {
		response, body := post(t, h.i.URL+door.path, formType, door.body, door.header)
		require.Equal(t, http.StatusUnauthorized, response.StatusCode, "%s: %s", name, body)
		require.Contains(t, body, "invalid_client", name)
	}
	page := h.get(oauth.PathAuthorize + "?" + url.Values{"client_id": {h.app.ClientID}, "response_type": {"code"}, "redirect_uri": {callback}}.Encode())
	require.GreaterOrEqual(t, page.StatusCode, http.StatusBadRequest, "authorize page")
	require.Less(t, page.StatusCode, http.StatusInternalServerError, "authorize page")
	got, err = manager.Get(h.i.URL + oauth.PathConnectedApps)
	require.NoError(t, err)
	_ = got.Body.Close()
	require.Equal(t, http.StatusUnauthorized, got.StatusCode, "management")
}

func TestAssertionsOfAnOrganizationThatIsGoneAreRefused(t *testing.T) {
	a := newAsserting(t, nil)
	proving := register(t, a.i, `{"client_name":"proving","grant_types":["client_credentials"],"audience":"internal",
		"token_endpoint_auth_method":"private_key_jwt","public_keys":[`+strconv.Quote(pemOf(t, a.key.Public()))+`]}`)
	prove := func() (int, string) {
		assertion := a.sign(jwt.MapClaims{"iss": proving.ClientID, "sub": proving.ClientID, "aud": a.i.URL + oauth.IssuerPath,
			"exp": time.Now().Add(time.Minute).Unix(), "iat": time.Now().Unix(), "jti": rand.Text()})
		response, body := post(t, a.i.URL+oauth.PathToken, formType, url.Values{"grant_type": {"client_credentials"}, "client_assertion": {assertion},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}}.Encode(), nil)
		return response.StatusCode, body
	}
	status, body := prove()
	require.Equal(t, http.StatusOK, status, body)
	status, _, failure := a.exchange(a.sign(a.claims()))
	require.Equal(t, http.StatusOK, status, failure)
	h := &holdings{visitor: newVisitor(a.personWorld), hash: hashOfPassword(t)}
	require.NoError(t, a.i.Server.TakeDirectory(t.Context(), h.without(tokenservertest.OrgID)))
	status, body = prove()
	require.Equal(t, http.StatusUnauthorized, status, body)
	status, _, failure = a.exchange(a.sign(a.claims()))
	require.Equal(t, http.StatusBadRequest, status)
	require.Equal(t, "invalid_grant", failure.Error)
}

func TestEveryRevocationIsSeenByTheVeryNextIntrospection(t *testing.T) {
	w := newPersonWorld(t, machineApp)
	tokens := make([]string, 200)
	for i := range tokens {
		tokens[i] = w.machineToken(w.app)
	}
	active := make(chan int, len(tokens))
	for i, token := range tokens {
		go func() {
			defer func() { active <- i }()
			status, _ := w.revoke(nil, "token", token)
			if assert.Equal(t, http.StatusOK, status) {
				assert.False(t, w.introspect(w.app, token).Active, "token %d", i)
			}
		}()
	}
	for range tokens {
		<-active
	}
}

func TestRefreshTokensGoOnAfterARestoredBackup(t *testing.T) {
	h := newHoldings(t)
	h.issue()
	restore := h.backup()
	for range 3 {
		require.True(t, h.refreshes())
	}
	stolen := h.before[len(h.before)-1]
	restore()
	require.True(t, h.introspect(h.app, h.refreshToken).Active)
	require.True(t, h.refreshes(), "a generation above the database's is ours, by its MAC")
	require.True(t, h.refreshes(), "and the family goes on")
	status, _, failure := h.refresh(stolen)
	require.Equal(t, http.StatusBadRequest, status)
	require.Equal(t, "invalid_grant", failure.Error)
	require.False(t, h.refreshes(), "an older one was copied: the family ends")
}

func TestUsersOfAnIdentityProviderThatLeftEndForGood(t *testing.T) {
	for _, format := range []string{"jwt", "opaque"} {
		t.Run(format, func(t *testing.T) {
			a := newAsserting(t, map[string]any{"access_token_format": format})
			_, tokens, failure := a.exchange(a.sign(a.claims()))
			require.Empty(t, failure.Error)
			require.True(t, a.introspect(a.app, tokens.AccessToken).Active)
			before := a.i.Directory.Load()
			away := tokenservertest.Directory(func(o *directory.Organization, _ *directory.User) {
				if o != nil {
					o.IdentityProviders = nil
				}
			})
			require.NoError(t, a.i.Server.TakeDirectory(t.Context(), away))
			require.False(t, a.introspect(a.app, tokens.AccessToken).Active)
			require.NoError(t, a.i.Server.TakeDirectory(t.Context(), before))
			require.False(t, a.introspect(a.app, tokens.AccessToken).Active, "it came back with the provider")
			_, tokens, failure = a.exchange(a.sign(a.claims()))
			require.Empty(t, failure.Error)
			require.True(t, a.introspect(a.app, tokens.AccessToken).Active, "what is issued afterwards lives")
		})
	}
}
