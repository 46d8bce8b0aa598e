// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/api/v1alpha1"
)

// TestEveryMemberOfAClientIsCompared fails for a member that has no field: what
// somebody changed there would be taken for our own unfinished work.
func TestEveryMemberOfAClientIsCompared(t *testing.T) {
	var c Client
	seen := map[any]bool{}
	for _, field := range fields {
		require.NotEmpty(t, field.name)
		seen[field.member(&c)] = true
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
	for _, field := range fields {
		require.NotEqual(t, digest(Client{}, field.name), digest(full, field.name), field.name)
		copyField(&copied, full, field.name)
	}
	require.Equal(t, full, copied)
}

// TestDigestsKeepTheirPlaces fails when the order changes, in which earlier versions
// wrote: whatever differs would be taken for another field.
func TestDigestsKeepTheirPlaces(t *testing.T) {
	var names []string
	for _, field := range fields {
		names = append(names, field.name)
	}
	require.Equal(t, []string{
		"clientName", "clientType", "tokenEndpointAuthMethod", "grantTypes", "redirectURIs", "postLogoutRedirectURIs", "scopes", "audience",
		"publicKeys", "identityProviders", "assertionsWithoutExpiry", "skipUserConsent", "accessTokenFormat", "accessTokenSigningAlg",
		"idTokenSigningAlg", "refreshGraceSeconds", "clientURI", "policyURI", "tosURI", "enabled", "credentials.serviceAccounts",
	}, names, "add new ones at the end")
}

func TestAnUnreadableDigestIsOfNoValue(t *testing.T) {
	want := Client{Name: "a", Audience: "internal"}
	written := digestsOf(&want).String()
	require.Equal(t, digestsOf(&want), parse(written))
	require.LessOrEqual(t, len(written), 1024, "as much as the API server takes")

	require.Equal(t, digestsOf(&want), parse(written+".ABCDEFGH"), "a field of a later version")
	earlier, _, _ := strings.Cut(written, ".")
	require.Equal(t, digests{digest(want, FieldClientName)}, parse(earlier), "an earlier version had fewer fields")
	for _, foreign := range []string{"", ".", "x", strings.Repeat("x", 1000), strings.Repeat(".", 1000), `{"clientName":"0123456789ab"}`, strings.ReplaceAll(written, ".", " ")} {
		require.Equal(t, digests{}, parse(foreign), foreign)
	}
	written = strings.Replace(written, string(digest(want, FieldAudience)), "edited by somebody", 1)
	require.Empty(t, parse(written).of(FieldAudience))
	require.Equal(t, digest(want, FieldClientName), parse(written).of(FieldClientName))

	compared := &v1alpha1.ComparedClient{Digests: digestsOf(&want).String()}
	Uncompared(compared, []Change{{Field: FieldAudience}})
	require.Empty(t, parse(compared.Digests).of(FieldAudience))
	require.Equal(t, digest(want, FieldEnabled), parse(compared.Digests).of(FieldEnabled))
}
