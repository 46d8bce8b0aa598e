// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"encoding/json"
	"time"
)

// TokenResponse is the body of a successful token request
// (https://www.rfc-editor.org/rfc/rfc6749#section-5.1). ExpiresIn is in
// seconds.
type TokenResponse struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
	Scope        string `json:"scope,omitempty"`
}

// ConnectedApp is the connected app on the wire (contract sections 2 and 12).
// Arrays are never null in an answer.
type ConnectedApp struct {
	ClientID                     string     `json:"client_id"`
	ClientSecret                 string     `json:"client_secret,omitempty"`
	ClientSecretID               string     `json:"client_secret_id,omitempty"`
	ClientName                   string     `json:"client_name"`
	GrantTypes                   []string   `json:"grant_types"`
	RedirectURIs                 []string   `json:"redirect_uris"`
	Scopes                       []string   `json:"scopes"`
	PublicKeys                   []string   `json:"public_keys"`
	Audience                     string     `json:"audience"`
	ClientURI                    *string    `json:"client_uri"`
	PolicyURI                    *string    `json:"policy_uri"`
	TOSURI                       *string    `json:"tos_uri"`
	CertExpiry                   *string    `json:"cert_expiry"`
	Enabled                      bool       `json:"enabled"`
	OrgID                        string     `json:"org_id"`
	OwnerOrgID                   string     `json:"owner_org_id"`
	OwnerUserID                  string     `json:"owner_user_id"`
	GenerateISSClaimWithoutToken bool       `json:"generate_iss_claim_without_token"`
	IDProviderID                 *string    `json:"idprovider_id"`
	TokenEndpointAuthMethod      string     `json:"token_endpoint_auth_method"`
	AccessTokenFormat            *string    `json:"access_token_format"`
	IDTokenSignedResponseAlg     string     `json:"id_token_signed_response_alg,omitempty"`
	AccessTokenSignedResponseAlg string     `json:"access_token_signed_response_alg,omitempty"`
	PostLogoutRedirectURIs       []string   `json:"post_logout_redirect_uris"`
	IdentityProviders            []string   `json:"identity_providers"`
	SkipUserConsent              bool       `json:"skip_user_consent"`
	AssertionsWithoutExpiry      bool       `json:"assertions_without_expiry"`
	RefreshGraceSeconds          *int64     `json:"refresh_grace_seconds,omitempty"`
	ExternalID                   string     `json:"external_id,omitempty"`
	Revision                     string     `json:"revision,omitempty"`
	CreatedAt                    time.Time  `json:"created_at"`
	UpdatedAt                    time.Time  `json:"updated_at"`
	ClientSecretUpdatedAt        *time.Time `json:"client_secret_updated_at"`

	// FederatedIdentities are the workloads whose tokens authenticate the app.
	FederatedIdentities []FederatedIdentity `json:"federated_identities"`
}

// FederatedIdentity is a workload of an issuer that the server's configuration
// names; of a cluster a ServiceAccount, by the sub of its tokens.
type FederatedIdentity struct {
	IssuerName string `json:"issuer_name"`
	Subject    string `json:"subject"`
}

// ContextScope is a scope assigned in the context of an organization and an
// environment; both may be empty (contract section 2.2).
type ContextScope struct {
	Scope         string        `json:"scope"`
	ContextParams ContextParams `json:"context_params"`
}

// ContextParams is the context of a ContextScope. The environment's key is
// envId, camel case, inside the otherwise snake-case object.
type ContextParams struct {
	Org   string `json:"org,omitempty"`
	EnvID string `json:"envId,omitempty"`
}

// List is the envelope of every list answer: one page and the number of all
// matches (contract section 3.1).
type List[T any] struct {
	Data  []T `json:"data"`
	Total int `json:"total"`
}

// MarshalJSON writes no data as an empty array, never null.
func (l List[T]) MarshalJSON() ([]byte, error) {
	type plain List[T]
	if l.Data == nil {
		l.Data = []T{}
	}
	return json.Marshal(plain(l))
}

// ScopesRequest is the body of PUT, PATCH and DELETE of the scopes
// sub-resource; a missing list is the empty one (contract section 3.4).
type ScopesRequest struct {
	Scopes []ContextScope `json:"scopes"`
}

// Secret is one client secret of an app as GET …/secrets lists it; the value,
// and ClientSecretID beside it, appear only in the answer that made it
// (contract section 12).
type Secret struct {
	ID             string     `json:"id"`
	ClientSecret   string     `json:"client_secret,omitempty"`
	ClientSecretID string     `json:"client_secret_id,omitempty"`
	CreatedAt      time.Time  `json:"created_at"`
	ExpiresAt      *time.Time `json:"expires_at"`
	LastUsedAt     *time.Time `json:"last_used_at"`
}

// SecretList is the answer of GET …/secrets. CompleteUntil is the time up to
// which every replica has reported last_used_at.
type SecretList struct {
	Data          []Secret  `json:"data"`
	Total         int       `json:"total"`
	CompleteUntil time.Time `json:"complete_until"`
}

// SecretRequest is the body of POST …/secrets: how long, in seconds, earlier
// secrets stay valid at most.
type SecretRequest struct {
	OverlapSeconds int64 `json:"overlap_seconds"`
}

// ManagementError is the error body of the management API (contract section
// 3.6). Status repeats the HTTP status as a number.
type ManagementError struct {
	Status  int    `json:"status"`
	Message string `json:"message"`
}

// Metadata is the server's description of itself: RFC 8414 metadata and the
// OpenID discovery document are the same object (contract sections 7 and 12).
type Metadata struct {
	Issuer                                     string   `json:"issuer"`
	AuthorizationEndpoint                      string   `json:"authorization_endpoint,omitempty"`
	TokenEndpoint                              string   `json:"token_endpoint"`
	UserinfoEndpoint                           string   `json:"userinfo_endpoint,omitempty"`
	JWKSURI                                    string   `json:"jwks_uri"`
	RevocationEndpoint                         string   `json:"revocation_endpoint,omitempty"`
	IntrospectionEndpoint                      string   `json:"introspection_endpoint,omitempty"`
	EndSessionEndpoint                         string   `json:"end_session_endpoint,omitempty"`
	ScopesSupported                            []string `json:"scopes_supported"`
	ResponseTypesSupported                     []string `json:"response_types_supported"`
	ResponseModesSupported                     []string `json:"response_modes_supported,omitempty"`
	GrantTypesSupported                        []string `json:"grant_types_supported"`
	TokenEndpointAuthMethodsSupported          []string `json:"token_endpoint_auth_methods_supported"`
	TokenEndpointAuthSigningAlgValuesSupported []string `json:"token_endpoint_auth_signing_alg_values_supported,omitempty"`
	SubjectTypesSupported                      []string `json:"subject_types_supported"`
	IDTokenSigningAlgValuesSupported           []string `json:"id_token_signing_alg_values_supported"`
	CodeChallengeMethodsSupported              []string `json:"code_challenge_methods_supported,omitempty"`
	ClaimsSupported                            []string `json:"claims_supported,omitempty"`
	AuthorizationResponseISSParameterSupported bool     `json:"authorization_response_iss_parameter_supported,omitempty"`
	// These are always said: what is left out of the second means true.
	RequestParameterSupported    bool     `json:"request_parameter_supported"`
	RequestURIParameterSupported bool     `json:"request_uri_parameter_supported"`
	ClaimsParameterSupported     bool     `json:"claims_parameter_supported"`
	Extensions                   []string `json:"connectedapps_extensions,omitempty"`
	InstallationID               string   `json:"connectedapps_installation_id,omitempty"`
}

// CatalogScope is one entry of the scope catalogue, a bare array (contract
// section 3.5).
type CatalogScope struct {
	Scope        string `json:"scope"`
	DisplayName  string `json:"displayName"`
	Description  string `json:"description"`
	ProductLabel string `json:"productLabel"`
	Internal     bool   `json:"internal"`
}

// Introspection is the answer of the introspection endpoint
// (https://www.rfc-editor.org/rfc/rfc7662#section-2.2). Of a token that is not
// active, or not the caller's to know, Active alone is there. Times are in
// seconds since 1970.
type Introspection struct {
	Active    bool           `json:"active"`
	Scope     string         `json:"scope,omitempty"`
	ClientID  string         `json:"client_id,omitempty"`
	Username  string         `json:"username,omitempty"`
	TokenType string         `json:"token_type,omitempty"`
	ExpiresAt int64          `json:"exp,omitempty"`
	IssuedAt  int64          `json:"iat,omitempty"`
	Subject   string         `json:"sub,omitempty"`
	Audience  string         `json:"aud,omitempty"`
	Issuer    string         `json:"iss,omitempty"`
	ID        string         `json:"jti,omitempty"`
	OrgID     string         `json:"org_id,omitempty"`
	Contexts  []TokenContext `json:"contexts,omitempty"`
}

// TokenContext limits scopes of an access token to an organization and an
// environment; Scope is space-delimited.
type TokenContext struct {
	Org   string `json:"org,omitempty"`
	EnvID string `json:"envId,omitempty"`
	Scope string `json:"scope"`
}
