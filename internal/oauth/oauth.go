// SPDX-License-Identifier: Apache-2.0

package oauth

import "strings"

// Grant types as they appear in grant_type and in an app's grant_types
// (contract section 2.1).
const (
	GrantAuthorizationCode = "authorization_code"
	GrantRefreshToken      = "refresh_token"
	GrantPassword          = "password"
	GrantJWTBearer         = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	GrantClientCredentials = "client_credentials"
)

// Token endpoint authentication methods
// (https://www.rfc-editor.org/rfc/rfc7591#section-2).
const (
	AuthMethodSecretPost    = "client_secret_post"
	AuthMethodSecretBasic   = "client_secret_basic"
	AuthMethodPrivateKeyJWT = "private_key_jwt"
	AuthMethodNone          = "none"
)

// AssertionTypeJWTBearer is the client_assertion_type of a JWT
// (https://www.rfc-editor.org/rfc/rfc7523#section-2.2).
const AssertionTypeJWTBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// TokenTypeBearer is the token_type of every token issued here, in the lower
// case the vendor's clients read (contract section 4).
const TokenTypeBearer = "bearer"

// Audiences of a connected app: whose users it admits (contract section 2).
const (
	AudienceInternal = "internal"
	AudienceEveryone = "everyone"
)

// Scopes with a meaning to the token server itself (contract sections 8 and
// 12).
const (
	ScopeFull              = "full"
	ScopeReadFull          = "read:full"
	ScopeOpenID            = "openid"
	ScopeProfile           = "profile"
	ScopeEmail             = "email"
	ScopeOfflineAccess     = "offline_access"
	ScopeGroups            = "groups"
	ScopeGoogleWIF         = "openid:google_wif"
	ScopeReadConnectedApps = "read:orgconnapps"
	ScopeManageConnApps    = "manage:orgconnapps"
	ScopeIntrospectTokens  = "introspect:tokens"
)

// Extensions of the management API, as discovery lists them in
// connectedapps_extensions (contract section 12).
const (
	ExtensionExternalID = "external_id"
	ExtensionSecrets    = "secrets"
	ExtensionRevision   = "revision"
	ExtensionRestore    = "restore"
	// ExtensionFederatedIdentities is there while the server trusts an issuer of
	// workload tokens.
	ExtensionFederatedIdentities = "federated_identities"
)

// Paths below a server's public URL (contract sections 3 to 7, 10 and 12).
const (
	// IssuerPath is appended to the public URL to form the issuer.
	IssuerPath        = "/accounts/api/v2/oauth2"
	PathToken         = IssuerPath + "/token"
	PathAuthorize     = IssuerPath + "/authorize"
	PathRevoke        = IssuerPath + "/revoke"
	PathIntrospect    = IssuerPath + "/introspect"
	PathUserInfo      = IssuerPath + "/userinfo"
	PathJWKS          = IssuerPath + "/jwks"
	PathEndSession    = IssuerPath + "/logout"
	PathDiscovery     = IssuerPath + "/.well-known/openid-configuration"
	PathMetadata      = "/.well-known/oauth-authorization-server" + IssuerPath
	PathConnectedApps = "/accounts/api/connectedApplications"
	PathOrganizations = "/accounts/api/organizations"
	PathScopeCatalog  = "/accounts/api/cs/scopes"
	PathProfile       = "/accounts/api/profile"
	PathMe            = "/accounts/api/me"
	PathUsersMe       = "/accounts/api/users/me"
)

// JoinScopes writes scopes as one space-delimited parameter
// (https://www.rfc-editor.org/rfc/rfc6749#section-3.3).
func JoinScopes(scopes []string) string { return strings.Join(scopes, " ") }

// SplitScopes reads a space-delimited scope parameter; repeated spaces are
// taken as one, so the zero value is no scope.
func SplitScopes(scope string) []string { return strings.Fields(scope) }
