// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/grant"
	"connectedapps.dev/operator/internal/tokenserver/keys"
	"connectedapps.dev/operator/internal/tokenserver/scopes"
)

// metadata is what the server says of itself: only what it does.
func (s *Server) metadata(grants []grant.Grant, installationID string) oauth.Metadata {
	m := oauth.Metadata{
		Issuer:        s.config.issuer(),
		TokenEndpoint: s.config.PublicURL + oauth.PathToken,
		JWKSURI:       s.config.PublicURL + oauth.PathJWKS,

		RevocationEndpoint:    s.config.PublicURL + oauth.PathRevoke,
		IntrospectionEndpoint: s.config.PublicURL + oauth.PathIntrospect,

		TokenEndpointAuthMethodsSupported: []string{
			oauth.AuthMethodSecretPost, oauth.AuthMethodSecretBasic, oauth.AuthMethodPrivateKeyJWT, oauth.AuthMethodNone,
		},
		TokenEndpointAuthSigningAlgValuesSupported: []string{"RS256", "PS256", "ES256", "EdDSA"},
		SubjectTypesSupported:                      []string{"public"},
		IDTokenSigningAlgValuesSupported:           []string{keys.RS256, keys.ES256},
		// Said, not left out: what is left out of the second means true
		// (https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderMetadata).
		RequestParameterSupported: false, RequestURIParameterSupported: false, ClaimsParameterSupported: false,
		Extensions: []string{
			oauth.ExtensionExternalID, oauth.ExtensionSecrets, oauth.ExtensionRevision, oauth.ExtensionRestore,
		},
		InstallationID: installationID,
	}
	if len(s.config.Workloads.Names()) > 0 {
		m.Extensions = append(m.Extensions, oauth.ExtensionFederatedIdentities)
	}
	for _, g := range grants {
		m.GrantTypesSupported = append(m.GrantTypesSupported, g.Type())
	}
	for _, scope := range scopes.Catalog() {
		m.ScopesSupported = append(m.ScopesSupported, scope.Name)
	}
	s.describePeople(&m)
	return m
}
