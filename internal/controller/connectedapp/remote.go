// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"slices"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/plan"
	"connectedapps.dev/operator/internal/registrar"
)

// members put a field of a client, by its name in the spec, into a request.
var members = map[string]func(*registrar.Fields, plan.Client){
	plan.FieldClientName:              func(f *registrar.Fields, c plan.Client) { f.ClientName = &c.Name },
	plan.FieldClientType:              func(f *registrar.Fields, c plan.Client) { f.TokenEndpointAuthMethod = new(c.Method()) },
	plan.FieldTokenEndpointAuthMethod: func(f *registrar.Fields, c plan.Client) { f.TokenEndpointAuthMethod = new(c.Method()) },
	plan.FieldGrantTypes:              func(f *registrar.Fields, c plan.Client) { f.GrantTypes = list(c.GrantTypes) },
	plan.FieldRedirectURIs:            func(f *registrar.Fields, c plan.Client) { f.RedirectURIs = list(c.RedirectURIs) },
	plan.FieldPostLogoutRedirectURIs:  func(f *registrar.Fields, c plan.Client) { f.PostLogoutRedirectURIs = list(c.PostLogoutRedirectURIs) },
	plan.FieldScopes:                  func(f *registrar.Fields, c plan.Client) { f.Scopes = list(plainScopes(c)) },
	plan.FieldAudience:                func(f *registrar.Fields, c plan.Client) { f.Audience = &c.Audience },
	plan.FieldPublicKeys:              func(f *registrar.Fields, c plan.Client) { f.PublicKeys = list(c.PublicKeys) },
	plan.FieldIdentityProviders:       func(f *registrar.Fields, c plan.Client) { f.IdentityProviders = list(c.IdentityProviders) },
	plan.FieldServiceAccounts:         func(f *registrar.Fields, c plan.Client) { f.FederatedIdentities = federatedIdentities(c) },
	plan.FieldAssertionsWithoutExpiry: func(f *registrar.Fields, c plan.Client) { f.AssertionsWithoutExpiry = &c.AssertionsWithoutExpiry },
	plan.FieldSkipUserConsent:         func(f *registrar.Fields, c plan.Client) { f.SkipUserConsent = &c.SkipUserConsent },
	plan.FieldAccessTokenFormat:       func(f *registrar.Fields, c plan.Client) { f.AccessTokenFormat = &c.AccessTokenFormat },
	plan.FieldAccessTokenSigningAlg:   func(f *registrar.Fields, c plan.Client) { f.AccessTokenSignedResponseAlg = &c.AccessTokenAlg },
	plan.FieldIDTokenSigningAlg:       func(f *registrar.Fields, c plan.Client) { f.IDTokenSignedResponseAlg = &c.IDTokenAlg },
	plan.FieldRefreshGraceSeconds:     func(f *registrar.Fields, c plan.Client) { f.RefreshGraceSeconds = c.RefreshGrace },
	plan.FieldClientURI:               func(f *registrar.Fields, c plan.Client) { f.ClientURI = &c.ClientURI },
	plan.FieldPolicyURI:               func(f *registrar.Fields, c plan.Client) { f.PolicyURI = &c.PolicyURI },
	plan.FieldTOSURI:                  func(f *registrar.Fields, c plan.Client) { f.TOSURI = &c.TOSURI },
	plan.FieldEnabled:                 func(f *registrar.Fields, c plan.Client) { f.Enabled = &c.Enabled },
}

// allFields are the members of a registration: those that the platform's API
// wants to see even when they are empty, and what differs from a client of which
// nothing else is said. The scopes of a client that acts for itself are among
// them only when none has a context; the others are put where contexts are
// possible. skipUserConsent is never among them: a server may leave that to its
// administrators, and its refusal must not be one of the registration.
func allFields(want plan.Client) registrar.Fields {
	fields := []string{
		plan.FieldClientName, plan.FieldGrantTypes, plan.FieldRedirectURIs, plan.FieldScopes, plan.FieldAudience, plan.FieldPublicKeys, plan.FieldEnabled,
	}
	for _, c := range plan.Diff(plan.Client{}, want) {
		if c.Field != plan.FieldSkipUserConsent {
			fields = append(fields, c.Field)
		}
	}
	var f registrar.Fields
	for _, field := range fields {
		members[field](&f, want)
	}
	return f
}

// someFields are the members that changes speak of.
func someFields(want plan.Client, changes []plan.Change, otherKind bool) registrar.Fields {
	var f registrar.Fields
	for _, c := range changes {
		if put, ok := members[c.Field]; ok {
			put(&f, want)
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

func federatedIdentities(c plan.Client) *[]oauth.FederatedIdentity {
	list := make([]oauth.FederatedIdentity, len(c.Identities))
	for i, identity := range c.Identities {
		list[i] = oauth.FederatedIdentity{IssuerName: identity.Issuer, Subject: identity.Subject}
	}
	return &list
}

// list is a member that is sent even when it is empty.
func list(values []string) *[]string {
	if values == nil {
		values = []string{}
	}
	return &values
}
