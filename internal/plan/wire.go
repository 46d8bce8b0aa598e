// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"

	"connectedapps.dev/operator/internal/oauth"
)

// LiveOf is a client as a server holds it: its registration, its scopes with
// contexts when it acts for itself, and its secrets; nil when the server does not
// tell.
func LiveOf(app *oauth.ConnectedApp, scopes []oauth.ContextScope, secrets *oauth.SecretList) *LiveClient {
	live := &LiveClient{ID: app.ClientID, Revision: app.Revision, Client: ClientOf(app)}
	if scopes != nil || live.Client.ActsForItself() {
		live.Client.Scopes = nil
		for _, s := range scopes {
			live.Client.Scopes = append(live.Client.Scopes, Scope{Name: s.Scope, OrganizationID: s.ContextParams.Org, EnvironmentID: s.ContextParams.EnvID})
		}
	}
	if secrets != nil {
		live.SecretsKnown = true
		live.Secrets = secretsOf(secrets)
		live.CompleteUntil = secrets.CompleteUntil
	}
	return live
}

func secretsOf(list *oauth.SecretList) []ClientSecret {
	secrets := make([]ClientSecret, len(list.Data))
	for i, s := range list.Data {
		secrets[i] = ClientSecret{ID: s.ID, CreatedAt: s.CreatedAt}
		if s.LastUsedAt != nil {
			secrets[i].LastUsed = *s.LastUsedAt
		}
		if s.ExpiresAt != nil {
			secrets[i].ExpiresAt = *s.ExpiresAt
		}
	}
	return secrets
}

// ClientOf is the registration in an answer of the management API. The scopes with
// contexts of a client that acts for itself are not in it.
func ClientOf(app *oauth.ConnectedApp) Client {
	c := Client{
		Name: app.ClientName, GrantTypes: app.GrantTypes, RedirectURIs: app.RedirectURIs,
		PostLogoutRedirectURIs: app.PostLogoutRedirectURIs, Audience: cmp.Or(app.Audience, oauth.AudienceInternal),
		PublicKeys: app.PublicKeys, ClientURI: deref(app.ClientURI), PolicyURI: deref(app.PolicyURI), TOSURI: deref(app.TOSURI),
		Enabled: app.Enabled, AuthMethod: app.TokenEndpointAuthMethod,
		IdentityProviders: app.IdentityProviders, AssertionsWithoutExpiry: app.AssertionsWithoutExpiry, SkipUserConsent: app.SkipUserConsent,
		AccessTokenFormat: deref(app.AccessTokenFormat), AccessTokenAlg: app.AccessTokenSignedResponseAlg,
		IDTokenAlg: app.IDTokenSignedResponseAlg, RefreshGrace: app.RefreshGraceSeconds,
	}
	for _, name := range app.Scopes {
		c.Scopes = append(c.Scopes, Scope{Name: name})
	}
	for _, i := range app.FederatedIdentities {
		c.Identities = append(c.Identities, Identity{Issuer: i.IssuerName, Subject: i.Subject})
	}
	return c
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
