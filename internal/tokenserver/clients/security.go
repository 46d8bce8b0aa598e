// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"slices"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// SecurityChanged tells whether a change of an app gives somebody power over what
// it receives, so that its users are asked again (docs/privileges.md): where
// answers go, how the app proves itself, whose it is, whom it is open to, which of
// the two kinds it is.
func SecurityChanged(before, after *storage.App) bool {
	return !sameSet(before.RedirectURIs, after.RedirectURIs) ||
		!sameSet(before.PublicKeys, after.PublicKeys) ||
		!sameSet(before.FederatedIdentities, after.FederatedIdentities) ||
		before.TokenEndpointAuthMethod != after.TokenEndpointAuthMethod ||
		before.OwnerUserID != after.OwnerUserID || before.OwnerOrgID != after.OwnerOrgID ||
		before.OrgID != after.OrgID ||
		actsForItself(before.GrantTypes) != actsForItself(after.GrantTypes) ||
		before.Audience != after.Audience
}

func actsForItself(grantTypes []string) bool {
	return slices.Contains(grantTypes, oauth.GrantClientCredentials)
}

func sameSet[T comparable](a, b []T) bool {
	within := func(list, all []T) bool {
		return !slices.ContainsFunc(list, func(item T) bool { return !slices.Contains(all, item) })
	}
	return within(a, b) && within(b, a)
}
