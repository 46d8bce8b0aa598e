// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEveryMemberOfAClientIsCompared fails for a member that has no field: what
// somebody changed there would be taken for our own unfinished work.
func TestEveryMemberOfAClientIsCompared(t *testing.T) {
	var c Client
	seen := map[any]bool{}
	for name, member := range fields {
		require.NotEmpty(t, name)
		seen[member(&c)] = true
	}
	value := reflect.ValueOf(&c).Elem()
	for i := range value.NumField() {
		require.True(t, seen[value.Field(i).Addr().Interface()], "no field for %s", value.Type().Field(i).Name)
	}
}

func TestEveryFieldCanBeCopied(t *testing.T) {
	n := int64(1)
	full := Client{
		Name: "x", GrantTypes: []string{"x"}, RedirectURIs: []string{"x"}, PostLogoutRedirectURIs: []string{"x"}, Scopes: []Scope{{Name: "x"}},
		Audience: "x", PublicKeys: []string{"x"}, ClientURI: "x", PolicyURI: "x", TOSURI: "x", Enabled: true, IdentityProviders: []string{"x"}, Identities: []Identity{{Issuer: "x"}},
		AssertionsWithoutExpiry: true, SkipUserConsent: true, AuthMethod: "x", AccessTokenFormat: "x", AccessTokenAlg: "x", IDTokenAlg: "x", RefreshGrace: &n,
	}
	var copied Client
	for field := range fields {
		require.NotEqual(t, digest(Client{}, field), digest(full, field), field)
		copyField(&copied, full, field)
	}
	require.Equal(t, full, copied)
}
