// SPDX-License-Identifier: Apache-2.0

package token_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/token"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

func TestContextsOf(t *testing.T) {
	for name, row := range map[string]struct {
		scopes []storage.ContextScope
		want   []token.Context
	}{
		"a scope without a context needs no entry": {
			[]storage.ContextScope{{Scope: "a"}}, nil,
		},
		"a context is carried unchanged": {
			[]storage.ContextScope{{Scope: "a", Org: "o", EnvID: "e"}, {Scope: "b"}}, []token.Context{{Scope: "a", Org: "o", EnvID: "e"}},
		},
		"a scope with and without a context keeps both": {
			[]storage.ContextScope{{Scope: "a"}, {Scope: "a", Org: "o"}}, []token.Context{{Scope: "a"}, {Scope: "a", Org: "o"}},
		},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, row.want, token.ContextsOf(row.scopes)) })
	}
}

func TestGeneratedSecretsAreLongAndNeverTheSame(t *testing.T) {
	hasher := &token.SecretHasher{Key: []byte("key")}
	seen := map[string]bool{}
	for range 1000 {
		secret := hasher.NewSecret()
		require.Regexp(t, `^cas_[0-9A-Za-z]{43}$`, secret)
		require.False(t, seen[secret])
		seen[secret] = true
	}
	require.Regexp(t, `^[0-9a-f]{32}$`, hasher.NewClientID())
}

// TestARevocationEndsTheTokensItNames revokes through the storage as another
// replica would, and follows the feed.
func TestRevocationEndsTheTokensItNames(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	issued := token.AccessToken{ID: "jti", Subject: "user", ClientID: "app", GrantID: "grant", IssuedAt: now, ExpiresAt: now.Add(time.Hour)}
	for name, row := range map[string]struct {
		kind      storage.RevocationKind
		key       string
		notBefore time.Time
		ends      bool
	}{
		"this token":                               {storage.RevokeToken, "jti", time.Time{}, true},
		"another token":                            {storage.RevokeToken, "other", time.Time{}, false},
		"its family":                               {storage.RevokeFamily, "grant", time.Time{}, true},
		"its user, a moment later":                 {storage.RevokeUser, "user", now.Add(time.Millisecond), true},
		"its user, in the same second":             {storage.RevokeUser, "user", now, true},
		"its user, before it was issued":           {storage.RevokeUser, "user", now.Add(-time.Second), false},
		"its app":                                  {storage.RevokeApp, "app", now, true},
		"another app":                              {storage.RevokeApp, "other", now, false},
		"the user's consent to the app":            {storage.RevokeConsent, "user app", now, true},
		"the user's consent to another app":        {storage.RevokeConsent, "user other", now, false},
		"a user whose id is an app's is not meant": {storage.RevokeUser, "app", now, false},
	} {
		t.Run(name, func(t *testing.T) {
			store := tokenservertest.Start(t).Store
			revocations := token.NewRevocations(store, func() time.Time { return now })
			tok := issued
			require.False(t, revocations.Ends(&tok))
			require.NoError(t, store.Revoke(t.Context(), storage.Revocation{
				Kind: row.kind, Key: row.key, NotBefore: row.notBefore, ExpiresAt: now.Add(time.Hour),
			}, now))
			require.NoError(t, revocations.Load(t.Context()))
			require.Equal(t, row.ends, revocations.Ends(&tok))
		})
	}
}
