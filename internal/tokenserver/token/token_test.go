// SPDX-License-Identifier: Apache-2.0

package token_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/token"
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
		"an organization has one entry": {
			[]storage.ContextScope{{Scope: "a", Org: "o"}, {Scope: "b", Org: "p"}, {Scope: "c", Org: "o"}},
			[]token.Context{{Scope: "a c", Org: "o"}, {Scope: "b", Org: "p"}},
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
