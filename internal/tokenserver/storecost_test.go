// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

func TestARefreshAsksTheStorageOnce(t *testing.T) {
	faults := tokenservertest.NewFaults()
	w := newPersonWorld(t, webApp, tokenservertest.WithStorage(faults.Wrap))
	_, tokens, _ := w.redeem(w.code(nil))
	for range 3 {
		faults.Calls()
		status, next, _ := w.refresh(tokens.RefreshToken)
		require.Equal(t, http.StatusOK, status)
		calls := faults.Calls()
		delete(calls, "Changes") // the feed, whenever it is due
		require.Equal(t, map[string]int{"RotateFamily": 1}, calls)
		tokens = next
	}
}

func TestARefusedRefreshCostsNoToken(t *testing.T) {
	for name, members := range map[string]string{
		"of a client that proves itself": "", "of a public client without grace": `,"token_endpoint_auth_method":"none","refresh_grace_seconds":0`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newPersonWorld(t, `{"client_name":"web","grant_types":["authorization_code","refresh_token"],"redirect_uris":["`+callback+`"],
				"scopes":["openid","profile","offline_access"]`+members+`}`)
			if members != "" {
				w.app.ClientSecret = ""
			}
			_, tokens, _ := w.redeem(w.code(nil))
			for range 3 {
				status, _, failure := w.refresh(tokens.RefreshToken, "scope", "email")
				require.Equal(t, http.StatusBadRequest, status)
				require.Equal(t, oauth.CodeInvalidScope, failure.Error)
			}
			status, next, _ := w.refresh(tokens.RefreshToken)
			require.Equal(t, http.StatusOK, status)
			status, _, _ = w.refresh(next.RefreshToken)
			require.Equal(t, http.StatusOK, status)
		})
	}
}

func TestARefreshTokenOfAnotherClientChangesNothing(t *testing.T) {
	w := newPersonWorld(t, webApp)
	_, tokens, _ := w.redeem(w.code(nil))
	mine := w.app
	w.app = register(t, w.i, webApp)
	status, _, failure := w.refresh(tokens.RefreshToken)
	require.Equal(t, http.StatusBadRequest, status)
	require.Equal(t, oauth.CodeInvalidGrant, failure.Error)
	w.app = mine
	family, err := w.i.Store.Family(t.Context(), w.familyOf(tokens.RefreshToken))
	require.NoError(t, err)
	require.EqualValues(t, 1, family.Generation)
	status, _, _ = w.refresh(tokens.RefreshToken)
	require.Equal(t, http.StatusOK, status)
}

func (w *personWorld) familyOf(refreshToken string) string {
	content, err := base64.RawURLEncoding.DecodeString(refreshToken)
	require.NoError(w.t, err)
	return uuid.UUID(content[:16]).String()
}

// TestARefreshTokenOfAnEarlierReleaseIsTaken: its family has a random nonce.
func TestARefreshTokenOfAnEarlierReleaseIsTaken(t *testing.T) {
	w := newPersonWorld(t, webApp)
	code := w.code(nil)
	hash := sha256.Sum256([]byte(code))
	id, nonce, now := uuid.New(), make([]byte, 16), w.clock.Now()
	_, _ = rand.Read(nonce)
	_, err := w.i.Store.RedeemCode(t.Context(), hash[:], now, &storage.RefreshFamily{
		ID: id.String(), Nonce: nonce, Generation: 1, ClientID: w.app.ClientID, UserID: tokenservertest.UserID, OrgID: w.i.OrgID,
		Scopes: []string{"profile", "offline_access"}, AuthTime: now, CodeHash: hash[:], CreatedAt: now, RotatedAt: now, ExpiresAt: now.Add(time.Hour),
	})
	require.NoError(t, err)
	derive := func(generation uint64) string {
		head := binary.BigEndian.AppendUint64(id[:], generation)
		mac := hmac.New(sha256.New, w.i.Keyring.DataKey(storage.PurposeRefresh))
		mac.Write(id[:])
		mac.Write(nonce)
		mac.Write(head[16:])
		return base64.RawURLEncoding.EncodeToString(append(head, mac.Sum(nil)...))
	}
	for generation := range uint64(3) {
		status, next, _ := w.refresh(derive(generation + 1))
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, derive(generation+2), next.RefreshToken)
	}
}

// TestAKnownAssertionIsOneReadAndOneWrite: what it says of its user is known already.
func TestAKnownAssertionIsOneReadAndOneWrite(t *testing.T) {
	faults := tokenservertest.NewFaults()
	a := newAsserting(t, nil, tokenservertest.WithStorage(faults.Wrap))
	exchange := func(id string) (oauth.TokenResponse, map[string]int) {
		claims := a.claims()
		claims["jti"] = id
		faults.Calls()
		status, tokens, failure := a.exchange(a.sign(claims))
		require.Equal(t, http.StatusOK, status, failure)
		calls := faults.Calls()
		delete(calls, "Changes") // the feed, whenever it is due
		return tokens, calls
	}
	_, calls := exchange("first")
	require.Equal(t, 1, calls["PutUser"])
	tokens, calls := exchange("second")
	require.Equal(t, map[string]int{"UserByName": 1, "UseAssertion": 1}, calls)

	faults.Calls()
	require.Equal(t, "jsmith", a.introspect(a.app, tokens.AccessToken).Username)
	calls = faults.Calls()
	delete(calls, "Changes")
	require.Equal(t, map[string]int{"User": 1}, calls, "an introspection finds the user once")
}

// TestAUserWhoIsSwitchedOffWhileBeingAsserted: between the read of the user and the
// token, whether this replica knows of it by then or not.
func TestAUserWhoIsSwitchedOffWhileBeingAsserted(t *testing.T) {
	for name, known := range map[string]bool{"known here": true, "not known here yet": false} {
		t.Run(name, func(t *testing.T) {
			meanwhile := &whileRead{Faults: tokenservertest.NewFaults()}
			a := newAsserting(t, nil, tokenservertest.WithStorage(meanwhile.wrap))
			_, tokens, _ := a.exchange(a.sign(a.claims()))
			_, info := a.userInfo(tokens.AccessToken)
			id, _ := info["sub"].(string)
			set := func(disabled bool) {
				_, err := a.i.Store.SetUserDisabled(t.Context(), id, disabled, time.Now())
				require.NoError(t, err)
			}
			meanwhile.do = func() {
				set(true)
				if known {
					require.NoError(t, a.i.Server.Load(t.Context()))
				}
			}
			status, tokens, _ := a.exchange(a.sign(a.claims()))
			require.Nil(t, meanwhile.do)
			require.Equal(t, known, status == http.StatusBadRequest)
			set(false)
			require.NoError(t, a.i.Server.Load(t.Context()))
			if !known {
				require.False(t, a.introspect(a.app, tokens.AccessToken).Active, "nothing comes back with the user")
			}
		})
	}
}

// whileRead does something once after the next user was read by name.
type whileRead struct {
	*tokenservertest.Faults
	do func()
}

func (w *whileRead) wrap(s storage.Storage) storage.Storage {
	w.Wrap(s)
	return w
}

func (w *whileRead) UserByName(ctx context.Context, orgID, idProviderID, username string) (storage.User, error) {
	user, err := w.Faults.UserByName(ctx, orgID, idProviderID, username)
	if do := w.do; do != nil {
		w.do = nil
		do()
	}
	return user, err
}
