// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"slices"

	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/plan"
	"connectedapps.dev/operator/internal/registrar"
)

// liveOf is what the server holds, in the words of the plan.
func liveOf(app *inventory.App) *plan.LiveClient {
	live := &plan.LiveClient{ID: app.ClientID, Revision: app.Revision, Client: clientOf(&app.ConnectedApp)}
	if app.ContextScopes != nil || live.Client.ActsForItself() {
		live.Client.Scopes = nil
		for _, s := range app.ContextScopes {
			live.Client.Scopes = append(live.Client.Scopes,
				plan.Scope{Name: s.Scope, OrganizationID: s.ContextParams.Org, EnvironmentID: s.ContextParams.EnvID})
		}
	}
	if app.SecretList != nil {
		live.SecretsKnown = true
		live.Secrets = secretsOf(app.SecretList)
	}
	return live
}

func secretsOf(list *oauth.SecretList) []plan.ClientSecret {
	secrets := make([]plan.ClientSecret, len(list.Data))
	for i, s := range list.Data {
		secrets[i] = plan.ClientSecret{ID: s.ID, Used: s.LastUsedAt != nil}
		if s.ExpiresAt != nil {
			secrets[i].ExpiresAt = *s.ExpiresAt
		}
	}
	return secrets
}

func clientOf(app *oauth.ConnectedApp) plan.Client {
	c := plan.Client{
		Name: app.ClientName, GrantTypes: app.GrantTypes, RedirectURIs: app.RedirectURIs, Audience: app.Audience,
		PublicKeys: app.PublicKeys, ClientURI: deref(app.ClientURI), PolicyURI: deref(app.PolicyURI), TOSURI: deref(app.TOSURI),
		Enabled: app.Enabled, AuthMethod: app.TokenEndpointAuthMethod,
	}
	for _, name := range app.Scopes {
		c.Scopes = append(c.Scopes, plan.Scope{Name: name})
	}
	return c
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// allFields are the members of a registration. The scopes of a client that acts
// for itself are among them only when none has a context; the others are put
// where contexts are possible.
func allFields(want plan.Client) registrar.Fields {
	f := registrar.Fields{
		ClientName: &want.Name, GrantTypes: list(want.GrantTypes), RedirectURIs: list(want.RedirectURIs), Audience: &want.Audience,
		PublicKeys: list(want.PublicKeys), Enabled: &want.Enabled, TokenEndpointAuthMethod: &want.AuthMethod,
		Scopes: list(plainScopes(want)),
	}
	for _, text := range []struct {
		value string
		field **string
	}{{want.ClientURI, &f.ClientURI}, {want.PolicyURI, &f.PolicyURI}, {want.TOSURI, &f.TOSURI}} {
		if text.value != "" {
			*text.field = &text.value
		}
	}
	return f
}

// someFields are the members that changes speak of.
func someFields(want plan.Client, changes []plan.Change, otherKind bool) registrar.Fields {
	var f registrar.Fields
	for _, c := range changes {
		switch c.Field {
		case plan.FieldClientName:
			f.ClientName = &want.Name
		case plan.FieldClientType:
			f.TokenEndpointAuthMethod = &want.AuthMethod
		case plan.FieldGrantTypes:
			f.GrantTypes = list(want.GrantTypes)
		case plan.FieldRedirectURIs:
			f.RedirectURIs = list(want.RedirectURIs)
		case plan.FieldScopes:
			f.Scopes = list(plainScopes(want))
		case plan.FieldAudience:
			f.Audience = &want.Audience
		case plan.FieldPublicKeys:
			f.PublicKeys = list(want.PublicKeys)
		case plan.FieldClientURI:
			f.ClientURI = &want.ClientURI
		case plan.FieldPolicyURI:
			f.PolicyURI = &want.PolicyURI
		case plan.FieldTOSURI:
			f.TOSURI = &want.TOSURI
		case plan.FieldEnabled:
			f.Enabled = &want.Enabled
		}
	}
	if otherKind {
		// Scopes of the one kind of client may be impossible for the other.
		f.Scopes = list(plainScopes(want))
	}
	return f
}

// plainScopes are the scopes as names, or none when one of them has a context.
func plainScopes(c plan.Client) []string {
	if hasContexts(c) {
		return nil
	}
	names := make([]string, len(c.Scopes))
	for i, s := range c.Scopes {
		names[i] = s.Name
	}
	return names
}

func hasContexts(c plan.Client) bool {
	return slices.ContainsFunc(c.Scopes, func(s plan.Scope) bool { return s.OrganizationID != "" || s.EnvironmentID != "" })
}

func contextScopes(c plan.Client) []oauth.ContextScope {
	list := make([]oauth.ContextScope, len(c.Scopes))
	for i, s := range c.Scopes {
		list[i] = oauth.ContextScope{Scope: s.Name, ContextParams: oauth.ContextParams{Org: s.OrganizationID, EnvID: s.EnvironmentID}}
	}
	return list
}

// list is a member that is sent even when it is empty.
func list(values []string) *[]string {
	if values == nil {
		values = []string{}
	}
	return &values
}
