// SPDX-License-Identifier: Apache-2.0

package management

import (
	"slices"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// power is the one table of the members whose change gives somebody power over an
// app or over what it receives; docs/privileges.md is its text. After which of them
// users are asked again says clients.SecurityChanged.
var power = []struct {
	member  string
	changed func(before, after *storage.App) bool
	// credential: the caller must hold what an app that acts for itself holds.
	credential bool
}{
	{"redirect_uris", func(b, a *storage.App) bool { return !sameSet(b.RedirectURIs, a.RedirectURIs) }, false},
	{"token_endpoint_auth_method", func(b, a *storage.App) bool { return b.TokenEndpointAuthMethod != a.TokenEndpointAuthMethod }, true},
	{"public_keys", func(b, a *storage.App) bool { return !sameSet(b.PublicKeys, a.PublicKeys) }, true},
	{"federated_identities", func(b, a *storage.App) bool { return !sameSet(b.FederatedIdentities, a.FederatedIdentities) }, true},
	{"owner_user_id", func(b, a *storage.App) bool { return b.OwnerUserID != a.OwnerUserID || b.OwnerOrgID != a.OwnerOrgID }, false},
	{"audience", func(b, a *storage.App) bool { return b.Audience != a.Audience }, false},
	{"scopes", func(b, a *storage.App) bool { return len(withoutScopes(scopesOf(a), scopesOf(b))) > 0 }, false},
	{"grant_types", func(b, a *storage.App) bool { return !subset(a.GrantTypes, b.GrantTypes) }, true},
	{"grant_types", func(b, a *storage.App) bool { return actsForItself(b) != actsForItself(a) }, true},
	{"identity_providers", func(b, a *storage.App) bool { return !subset(a.IdentityProviders, b.IdentityProviders) }, false},
	{"assertions_without_expiry", func(b, a *storage.App) bool { return a.AssertionsWithoutExpiry && !b.AssertionsWithoutExpiry }, false},
	{"enabled", func(b, a *storage.App) bool { return a.Enabled && !b.Enabled }, true},
}

// settle applies the table to a change that c has made of before: it refuses
// what c may not do, moves the security version, and lets nobody but an
// administrator keep skip_user_consent.
func (c *caller) settle(before, app *storage.App) error {
	touched, credential := false, false
	for _, p := range power {
		if p.changed(before, app) {
			touched, credential = true, credential || p.credential
		}
	}
	if credential {
		if err := c.checkCredentials(before); err != nil {
			return err
		}
	}
	if touched && !c.sovereign() || app.Audience == oauth.AudienceEveryone && before.SkipUserConsent {
		app.SkipUserConsent = false
	}
	switch {
	case clients.SecurityChanged(before, app):
		c.moveVersion(app)
	case before.SkipUserConsent && !app.SkipUserConsent:
		// What went on record under it was nobody's own consent.
		app.SecurityVersion++
	}
	return nil
}

// settleSecret does the same for a secret that c has made. Whoever made the
// security version has had a secret before: its rotations change nothing, until an
// administrator makes a secret, which takes the app out of those hands.
func (c *caller) settleSecret(app *storage.App) error {
	if err := c.checkCredentials(app); err != nil {
		return err
	}
	switch {
	case c.sovereign():
		app.SecurityBy = c.party()
	case app.SecurityBy != c.party():
		c.moveVersion(app)
		app.SkipUserConsent = false
	}
	return nil
}

// mayRead tells whether c may be shown a secret of app again: only where it could
// make one that changes nothing, since to know a secret is as good as to make one.
func (c *caller) mayRead(app *storage.App) bool {
	return c.checkCredentials(app) == nil && (actsForItself(app) || c.sovereign() || app.SecurityBy == c.party())
}

// moveVersion makes a new security version. An administrator's hand leaves it
// with whom it was; in anybody else's the app changes hands, which ends all that
// it holds (storage.App.ChangedHands).
func (c *caller) moveVersion(app *storage.App) {
	app.SecurityVersion++
	if !c.sovereign() {
		app.SecurityBy = c.party()
	}
}

func sameSet[T comparable](a, b []T) bool { return subset(a, b) && subset(b, a) }

// subset tells whether all of list is among all.
func subset[T comparable](list, all []T) bool {
	known := make(map[T]bool, len(all))
	for _, item := range all {
		known[item] = true
	}
	return !slices.ContainsFunc(list, func(item T) bool { return !known[item] })
}
