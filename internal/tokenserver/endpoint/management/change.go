// SPDX-License-Identifier: Apache-2.0

package management

import (
	"slices"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/scopes"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// newApp is an app as it is before the body of its creation is applied.
func newApp(clientID, org string, belongs owner, now time.Time) storage.App {
	return storage.App{
		ClientID: clientID, OrgID: org,
		OwnerUserID: belongs.userID, OwnerOrgID: belongs.orgID,
		GrantTypes: []string{}, RedirectURIs: []string{}, Scopes: []string{}, ContextScopes: []storage.ContextScope{},
		PublicKeys: []string{}, FederatedIdentities: []storage.FederatedIdentity{}, PostLogoutRedirectURIs: []string{}, IdentityProviders: []string{},
		Audience: oauth.AudienceInternal, Enabled: true,
		TokenEndpointAuthMethod: oauth.AuthMethodSecretPost, SecurityVersion: now.UnixMicro(),
		CreatedAt: now, UpdatedAt: now,
	}
}

// create writes the members of the body over a new app. One that workloads
// authenticate as needs no secret, and gets none unless it is asked for.
func (b appBody) create(app *storage.App) error {
	if len(b.federatedIdentities.value) > 0 {
		app.TokenEndpointAuthMethod = oauth.AuthMethodPrivateKeyJWT
	}
	return b.apply(app)
}

// apply writes the members of the body over app; identity, secrets and owner
// are not its business.
func (b appBody) apply(app *storage.App) error {
	before := slices.Clone(scopesOf(app))
	stays := actsForItself(app)
	b.name.into(&app.Name)
	b.grantTypes.into(&app.GrantTypes)
	b.redirectURIs.into(&app.RedirectURIs)
	b.publicKeys.into(&app.PublicKeys)
	b.federatedIdentities.into(&app.FederatedIdentities)
	b.audience.into(&app.Audience)
	b.clientURI.into(&app.ClientURI)
	b.policyURI.into(&app.PolicyURI)
	b.tosURI.into(&app.TOSURI)
	b.enabled.into(&app.Enabled)
	b.generateISS.into(&app.GenerateISSClaimWithoutToken)
	b.idProviderID.into(&app.IDProviderID)
	b.tokenFormat.into(&app.AccessTokenFormat)
	b.idTokenAlg.into(&app.IDTokenAlg)
	b.accessTokenAlg.into(&app.AccessTokenAlg)
	b.postLogoutRedirectURIs.into(&app.PostLogoutRedirectURIs)
	b.identityProviders.into(&app.IdentityProviders)
	b.skipUserConsent.into(&app.SkipUserConsent)
	b.assertionsWithoutExpiry.into(&app.AssertionsWithoutExpiry)
	b.refreshGrace.into(&app.RefreshGrace)
	if b.publicClient.set && b.publicClient.value {
		app.TokenEndpointAuthMethod = oauth.AuthMethodNone
	}
	b.authMethod.into(&app.TokenEndpointAuthMethod)

	after := before
	if b.scopes.set {
		after = b.scopes.value
		if stays && actsForItself(app) {
			after = patchedScopes(before, b.scopes.value)
		}
		if err := checkPlain(app, "scopes", after); err != nil {
			return err
		}
	}
	assignScopes(app, after)
	return nil
}

// checkPlain refuses a context where the app keeps plain names.
func checkPlain(app *storage.App, path string, list []storage.ContextScope) error {
	if actsForItself(app) {
		return nil
	}
	for i, s := range list {
		if s.Org != "" || s.EnvID != "" {
			return httpx.BadRequest("%s: an app that acts for a user takes scopes without a context; only client_credentials apps have contexts",
				element(path, i))
		}
	}
	return nil
}

// checkApp holds the rules that join several members.
func checkApp(app *storage.App) error {
	switch {
	case app.Name == "":
		return httpx.BadRequest("client_name: is required")
	case len(app.GrantTypes) == 0:
		return httpx.BadRequest("grant_types: is required and must not be empty")
	case actsForItself(app) && len(app.GrantTypes) > 1:
		return httpx.BadRequest("grant_types: client_credentials must be the only grant type of an app; register another app for the others")
	case len(app.GrantTypes) == 1 && app.GrantTypes[0] == oauth.GrantRefreshToken:
		return httpx.BadRequest("grant_types: refresh_token needs the grant type that gives the first token, such as authorization_code")
	case app.SkipUserConsent && app.Audience == oauth.AudienceEveryone:
		return httpx.BadRequest("skip_user_consent: not with audience everyone: only the users of its own organization can be spoken for")
	case actsForItself(app) && app.TokenEndpointAuthMethod == oauth.AuthMethodNone:
		return httpx.BadRequest("token_endpoint_auth_method: an app with client_credentials must authenticate; none is not possible")
	case len(app.FederatedIdentities) > 0 && app.TokenEndpointAuthMethod == oauth.AuthMethodNone:
		return httpx.BadRequest("federated_identities: an app with token_endpoint_auth_method none is public and does not authenticate; " +
			"private_key_jwt needs no secret either")
	}
	if err := checkRedirects(app); err != nil {
		return err
	}
	list := scopesOf(app)
	if len(list) > maxScopes {
		return httpx.BadRequest("scopes: an app has at most %d, this would be %d", maxScopes, len(list))
	}
	for _, s := range list {
		if actsForItself(app) && scopes.NeedsUser(s.Scope) {
			return httpx.BadRequest("scopes: %s is for apps that act for a user, not for client_credentials", s.Scope)
		}
	}
	return nil
}

// hasSecret tells whether the app authenticates with a secret at all.
func hasSecret(app *storage.App) bool {
	return app.TokenEndpointAuthMethod != oauth.AuthMethodNone && app.TokenEndpointAuthMethod != oauth.AuthMethodPrivateKeyJWT
}

// retireSecrets ends every secret that is still accepted, at the latest at end.
func retireSecrets(app *storage.App, end time.Time) {
	app.Secrets = slices.Clone(app.Secrets)
	for i := range app.Secrets {
		if app.Secrets[i].Live(end) {
			app.Secrets[i].ExpiresAt = end
		}
	}
}

const (
	maxLiveSecrets    = 100
	maxRetiredSecrets = 100
)

// addSecret appends secret. Retired ones beyond the newest maxRetiredSecrets
// are forgotten.
func addSecret(app *storage.App, secret storage.Secret, now time.Time) error {
	live, retired := 0, 0
	for _, s := range app.Secrets {
		if s.Live(now) {
			live++
		} else {
			retired++
		}
	}
	if live >= maxLiveSecrets {
		return httpx.BadRequest("the app has %d live secrets, the most possible; delete those that are not used", live)
	}
	app.Secrets = slices.DeleteFunc(slices.Clone(app.Secrets), func(s storage.Secret) bool {
		drop := !s.Live(now) && retired > maxRetiredSecrets
		if drop {
			retired--
		}
		return drop
	})
	app.Secrets = append(app.Secrets, secret)
	app.SecretUpdatedAt = now
	return nil
}
