// SPDX-License-Identifier: Apache-2.0

package scopes_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/scopes"
)

func TestCatalogDescribesEveryScopeOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range scopes.Catalog() {
		require.False(t, seen[s.Name], "%s is listed twice", s.Name)
		seen[s.Name] = true
		require.True(t, scopes.WellFormed(s.Name), s.Name)
		require.NotEmpty(t, s.DisplayName, s.Name)
		require.NotEmpty(t, s.ProductLabel, s.Name)
		require.True(t, strings.HasSuffix(s.Description, "."), "%s: a description is a sentence", s.Name)
	}
	// 7 plain ones, 114 of the official provider, 12 of another client, 3 of ours.
	require.Len(t, seen, 136)
	for _, name := range []string{
		oauth.ScopeFull, oauth.ScopeReadFull, oauth.ScopeOpenID, oauth.ScopeProfile, oauth.ScopeEmail, oauth.ScopeGroups, oauth.ScopeOfflineAccess,
		oauth.ScopeGoogleWIF, oauth.ScopeReadConnectedApps, oauth.ScopeManageConnApps, oauth.ScopeIntrospectTokens, "view:environment", "aeh_admin",
	} {
		require.True(t, seen[name], "%s is missing", name)
	}
}

func TestCatalogCannotBeChangedByItsReader(t *testing.T) {
	scopes.Catalog()[0].Name = "changed"
	_, ok := scopes.Lookup("changed")
	require.False(t, ok)
	require.Equal(t, oauth.ScopeFull, scopes.Catalog()[0].Name)
}

func TestWellFormed(t *testing.T) {
	for name, want := range map[string]bool{
		"view:environment": true, "full": true, "new:thing_2": true, strings.Repeat("a", scopes.MaxLength): true,
		"": false, "two words": false, "quo\"te": false, "back\\slash": false, "tab\t": false, "nul\x00": false, "ümlaut": false,
		strings.Repeat("a", scopes.MaxLength+1): false,
	} {
		require.Equal(t, want, scopes.WellFormed(name), "%q", name)
	}
}

func TestWithinKeepsTheOrderOfTheList(t *testing.T) {
	for name, test := range map[string]struct{ list, allowed, want []string }{
		"a part":             {[]string{"c", "x", "a"}, []string{"a", "b", "c"}, []string{"c", "a"}},
		"nothing is allowed": {[]string{"a"}, nil, nil},
		"nothing is there":   {nil, []string{"a"}, nil},
		"many are allowed":   {[]string{"c", "x", "a"}, strings.Split("abcdefghijk", ""), []string{"c", "a"}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, scopes.Within(test.list, test.allowed)) })
	}
}
