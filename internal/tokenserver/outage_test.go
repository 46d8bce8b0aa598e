// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// brokenStorage stops answering at will, in what the flows of people need.
type brokenStorage struct {
	storage.Storage
	broken *atomic.Bool
}

var errBroken = fmt.Errorf("the disk is gone, says /var/lib/secret: %w", storage.ErrUnavailable)

func (s brokenStorage) Code(ctx context.Context, hash []byte) (storage.AuthorizationCode, error) {
	if s.broken.Load() {
		return storage.AuthorizationCode{}, errBroken
	}
	return s.Storage.Code(ctx, hash)
}

func (s brokenStorage) Family(ctx context.Context, id string) (storage.RefreshFamily, error) {
	if s.broken.Load() {
		return storage.RefreshFamily{}, errBroken
	}
	return s.Storage.Family(ctx, id)
}

func (s brokenStorage) RotateFamily(
	ctx context.Context, id, clientID string, generation, next int64, now, expiresAt time.Time,
) (storage.RefreshFamily, error) {
	if s.broken.Load() {
		return storage.RefreshFamily{}, errBroken
	}
	return s.Storage.RotateFamily(ctx, id, clientID, generation, next, now, expiresAt)
}

func (s brokenStorage) SessionByHash(ctx context.Context, hash []byte) (storage.Session, error) {
	if s.broken.Load() {
		return storage.Session{}, errBroken
	}
	return s.Storage.SessionByHash(ctx, hash)
}

func (s brokenStorage) CreateSession(ctx context.Context, session storage.Session) error {
	if s.broken.Load() {
		return errBroken
	}
	return s.Storage.CreateSession(ctx, session)
}

func TestWhileTheStorageDoesNotAnswerEverybodyIsAskedToTryAgain(t *testing.T) {
	broken := &atomic.Bool{}
	w := newPersonWorld(t, webApp, tokenservertest.WithStorage(func(s storage.Storage) storage.Storage { return brokenStorage{s, broken} }))
	v := newVisitor(w)
	v.signIn("")
	_, tokens, _ := w.redeem(w.code(nil))
	code := w.code(nil)
	stranger := newVisitor(w)
	form := form(stranger.get("/accounts/sign-in"), "username", "ulf", "password", tokenservertest.Password)

	broken.Store(true)
	for name, request := range map[string][]string{
		"a code":          {"grant_type", "authorization_code", "code", code, "redirect_uri", callback, "code_verifier", verifier},
		"a refresh token": {"grant_type", "refresh_token", "refresh_token", tokens.RefreshToken},
	} {
		status, _, failure, response := w.request(request...)
		assert.Equal(t, http.StatusServiceUnavailable, status, name)
		assert.Equal(t, "temporarily_unavailable", failure.Error, name)
		assert.Equal(t, "2", response.Header.Get("Retry-After"), name)
		assert.NotContains(t, failure.ErrorDescription, "disk")
	}
	for name, page := range map[string]answer{
		"authorized apps": v.get("/accounts/authorized-apps"),
		"sign-in":         stranger.do(http.MethodPost, "/accounts/sign-in", form),
		"sign-out":        v.get(oauth.PathEndSession),
	} {
		assert.Equal(t, http.StatusServiceUnavailable, page.StatusCode, name)
		assert.Equal(t, "2", page.Header.Get("Retry-After"), name)
		assert.Contains(t, page.body, "We cannot do this right now", name)
		assert.NotContains(t, page.body, "disk", name)
	}

	broken.Store(false)
	status, _, _ := w.redeem(code)
	require.Equal(t, http.StatusOK, status, "nothing was lost")
	status, _, _ = w.refresh(tokens.RefreshToken)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, http.StatusOK, v.get("/accounts/authorized-apps").StatusCode)
	require.Equal(t, http.StatusSeeOther, stranger.do(http.MethodPost, "/accounts/sign-in", form).StatusCode)
}
