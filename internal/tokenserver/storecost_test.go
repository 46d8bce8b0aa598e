// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
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
