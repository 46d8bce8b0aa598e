// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ConnectedApp is an OAuth 2.0 client: the manager registers it on a token
// server, keeps the registration as written here, and puts its credentials
// into a Secret beside it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,shortName=capp,categories=capps
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Client-ID",type=string,JSONPath=`.status.clientID`
// +kubebuilder:printcolumn:name="Secret",type=string,JSONPath=`.status.binding.name`
// +kubebuilder:printcolumn:name="Grants",type=string,JSONPath=`.spec.grantTypes`,priority=1
// +kubebuilder:printcolumn:name="Issuer",type=string,JSONPath=`.status.issuer`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 52",message="metadata.name must have at most 52 characters, so that the names of its Secrets fit",fieldPath=".metadata"
type ConnectedApp struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is the client as it should be.
	// +required
	Spec ConnectedAppSpec `json:"spec"`

	// Status is the client as it is.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status ConnectedAppStatus `json:"status,omitempty"`
}

// ConnectedAppSpec is the client as it should be.
//
// +kubebuilder:validation:XValidation:rule="(has(self.tokenServerRef) ? self.tokenServerRef.name : 'default') == (has(oldSelf.tokenServerRef) ? oldSelf.tokenServerRef.name : 'default')",message="cannot be changed: a client belongs to the server that made it; create another ConnectedApp instead",fieldPath=".tokenServerRef"
// +kubebuilder:validation:XValidation:rule="!('client_credentials' in self.grantTypes) || self.grantTypes.size() == 1",message="client_credentials must be the only grant type: an app acts either for itself or for users; make two apps",fieldPath=".grantTypes"
// +kubebuilder:validation:XValidation:rule="!('refresh_token' in self.grantTypes) || 'authorization_code' in self.grantTypes",message="refresh_token needs authorization_code: a refresh token comes from the authorization code grant",fieldPath=".grantTypes"
// +kubebuilder:validation:XValidation:rule="!('authorization_code' in self.grantTypes) || (has(self.redirectURIs) && self.redirectURIs.size() > 0)",message="authorization_code needs redirectURIs: list where people are sent back to",fieldPath=".redirectURIs"
// +kubebuilder:validation:XValidation:rule="!('client_credentials' in self.grantTypes) || !has(self.redirectURIs) || self.redirectURIs.size() == 0",message="an app with client_credentials acts for itself and sends nobody anywhere: leave redirectURIs out, or make another app that acts for users",fieldPath=".redirectURIs"
// +kubebuilder:validation:XValidation:rule="!has(self.redirectURIs) || (has(self.clientType) && self.clientType == 'Public') || self.redirectURIs.all(u, u.startsWith('https://') || u.startsWith('http://'))",message="a private-use scheme, such as com.example.app:/callback, is for clientType Public: other apps on the device can claim it, so a secret proves nothing; use https, or set clientType Public",fieldPath=".redirectURIs"
// +kubebuilder:validation:XValidation:rule="!('client_credentials' in self.grantTypes) || !has(self.postLogoutRedirectURIs) || self.postLogoutRedirectURIs.size() == 0",message="an app with client_credentials acts for itself and sends nobody anywhere: leave postLogoutRedirectURIs out, or make another app that acts for users",fieldPath=".postLogoutRedirectURIs"
// +kubebuilder:validation:XValidation:rule="!has(self.postLogoutRedirectURIs) || (has(self.clientType) && self.clientType == 'Public') || self.postLogoutRedirectURIs.all(u, u.startsWith('https://') || u.startsWith('http://'))",message="a private-use scheme, such as com.example.app:/signed-out, is for clientType Public, as in redirectURIs; use https, or set clientType Public",fieldPath=".postLogoutRedirectURIs"
// +kubebuilder:validation:XValidation:rule="('urn:ietf:params:oauth:grant-type:jwt-bearer' in self.grantTypes || (has(self.credentials) && self.credentials.type == 'PrivateKey')) == (has(self.publicKeys) && self.publicKeys.size() > 0)",message="the grant type urn:ietf:params:oauth:grant-type:jwt-bearer and credentials of type PrivateKey need publicKeys to verify assertions with, and nothing else uses them",fieldPath=".publicKeys"
// +kubebuilder:validation:XValidation:rule="'urn:ietf:params:oauth:grant-type:jwt-bearer' in self.grantTypes || !has(self.identityProviders) || self.identityProviders.size() == 0",message="identityProviders are for the grant type urn:ietf:params:oauth:grant-type:jwt-bearer, whose assertions speak for their users: leave them out, or add the grant type and publicKeys",fieldPath=".identityProviders"
// +kubebuilder:validation:XValidation:rule="'urn:ietf:params:oauth:grant-type:jwt-bearer' in self.grantTypes || !has(self.assertionsWithoutExpiry) || !self.assertionsWithoutExpiry",message="assertionsWithoutExpiry is for the grant type urn:ietf:params:oauth:grant-type:jwt-bearer, and no other takes assertions: leave it out, or add the grant type and publicKeys",fieldPath=".assertionsWithoutExpiry"
// +kubebuilder:validation:XValidation:rule="'authorization_code' in self.grantTypes || !has(self.skipUserConsent) || !self.skipUserConsent",message="skipUserConsent is for the grant type authorization_code, and no other asks people for their consent: leave it out, or add the grant type",fieldPath=".skipUserConsent"
// +kubebuilder:validation:XValidation:rule="!has(self.audience) || self.audience != 'everyone' || !has(self.skipUserConsent) || !self.skipUserConsent",message="skipUserConsent is not possible with audience everyone: only users of the app's own organization can be spoken for; leave it out, or set audience internal",fieldPath=".skipUserConsent"
// +kubebuilder:validation:XValidation:rule="'refresh_token' in self.grantTypes || !has(self.refreshGraceSeconds)",message="refreshGraceSeconds is for the grant type refresh_token, without which there is no refresh token: leave it out, or add the grant type",fieldPath=".refreshGraceSeconds"
// +kubebuilder:validation:XValidation:rule="!has(self.tokenEndpointAuthMethod) || (self.tokenEndpointAuthMethod == 'none') == (has(self.clientType) && self.clientType == 'Public')",message="none is for clientType Public, and a Public client has no other; leave tokenEndpointAuthMethod out, or change clientType",fieldPath=".tokenEndpointAuthMethod"
// +kubebuilder:validation:XValidation:rule="!has(self.tokenEndpointAuthMethod) || (self.tokenEndpointAuthMethod == 'private_key_jwt') == (has(self.credentials) && self.credentials.type in ['PrivateKey', 'ServiceAccount'])",message="private_key_jwt is for credentials of type PrivateKey or ServiceAccount, and these have no other; leave tokenEndpointAuthMethod out, or change credentials.type",fieldPath=".tokenEndpointAuthMethod"
// +kubebuilder:validation:XValidation:rule="!has(self.clientType) || self.clientType != 'Public' || !('client_credentials' in self.grantTypes || 'password' in self.grantTypes)",message="a Public client has no secret to authenticate with; client_credentials and password need clientType Confidential",fieldPath=".clientType"
// +kubebuilder:validation:XValidation:rule="!has(self.credentials) || (has(self.clientType) && self.clientType == 'Public') == (self.credentials.type == 'None')",message="type None is for clientType Public, and a Public client has no other; leave credentials out or change clientType",fieldPath=".credentials.type"
// +kubebuilder:validation:XValidation:rule="'client_credentials' in self.grantTypes || !has(self.scopes) || self.scopes.all(s, !has(s.organizationID) && !has(s.environmentID))",message="organizationID and environmentID are for apps with client_credentials; the scopes of an app that acts for users have no context",fieldPath=".scopes"
// +kubebuilder:validation:XValidation:rule="!('client_credentials' in self.grantTypes) || !has(self.scopes) || self.scopes.all(s, !(s.scope in ['openid', 'email', 'offline_access']))",message="openid, email and offline_access are for apps that act for users, not for client_credentials",fieldPath=".scopes"
type ConnectedAppSpec struct {
	// TokenServerRef names the TokenServer to register the client on. It cannot
	// be changed. Omitted: the TokenServer called default.
	// +optional
	TokenServerRef *TokenServerReference `json:"tokenServerRef,omitempty"`

	// ClientName is the name people see on consent pages. Omitted: the object's
	// namespace/name.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$`
	ClientName string `json:"clientName,omitempty"`

	// ClientType is Confidential for an app that can keep a secret, Public for
	// one that cannot, such as an app in a browser or on a phone; a Public
	// client must use PKCE. Omitted: Confidential.
	// +optional
	ClientType ClientType `json:"clientType,omitempty"`

	// GrantTypes are the ways the app gets tokens. client_credentials stands
	// alone: the app acts for itself. With the others it acts for users;
	// authorization_code needs redirectURIs, refresh_token needs
	// authorization_code, and urn:ietf:params:oauth:grant-type:jwt-bearer needs
	// publicKeys.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=5
	GrantTypes []GrantType `json:"grantTypes"`

	// RedirectURIs are where authorization responses may be sent: https; http on
	// localhost, 127.0.0.1 or [::1]; and for a Public client a private-use
	// scheme in reverse-domain form with one slash after it, such as
	// com.example.app:/callback (RFC 8252 section 7.1). Every app that acts for
	// users may list some; only authorization_code needs them. Omitted: none.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	RedirectURIs []RedirectURI `json:"redirectURIs,omitempty"`

	// PostLogoutRedirectURIs are where a person may be sent after signing out
	// (OpenID Connect RP-Initiated Logout 1.0). What may be in redirectURIs may be
	// here. Omitted: none.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	PostLogoutRedirectURIs []RedirectURI `json:"postLogoutRedirectURIs,omitempty"`

	// Scopes are what the app may ask for, in this order. Omitted: none.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1000
	Scopes []ScopeAssignment `json:"scopes,omitempty"`

	// Audience says whose users the app admits: internal, those of its own
	// organization, or everyone. Omitted: internal.
	// +optional
	Audience Audience `json:"audience,omitempty"`

	// PublicKeys verify the assertions of the JWT bearer grant, and those by which
	// an app with credentials of type PrivateKey authenticates. Required with that
	// grant or type, and for nothing else.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	PublicKeys []PublicKey `json:"publicKeys,omitempty"`

	// IdentityProviders are the ids of the organization's identity providers for
	// whose users the app may speak by assertions of the JWT bearer grant.
	// Omitted: none but those that the server's configuration gives to every app
	// of the organization.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	IdentityProviders []Identifier `json:"identityProviders,omitempty"`

	// AssertionsWithoutExpiry true has the server take assertions of the JWT bearer
	// grant that never expire: whoever copies one can use it for ever. Omitted:
	// false.
	// +optional
	AssertionsWithoutExpiry *bool `json:"assertionsWithoutExpiry,omitempty"`

	// SkipUserConsent true has the server not ask users of the app's own
	// organization for their consent, except to what reaches far. Some servers let
	// only an administrator switch it on, not the manager. Omitted: false.
	// +optional
	SkipUserConsent *bool `json:"skipUserConsent,omitempty"`

	// TokenEndpointAuthMethod is how the app authenticates at the token endpoint:
	// client_secret_post or client_secret_basic; private_key_jwt for credentials of
	// type PrivateKey or ServiceAccount; none for clientType Public. Omitted: as
	// credentials and clientType say, with a secret by either way, as the server
	// has it.
	// +optional
	TokenEndpointAuthMethod TokenEndpointAuthMethod `json:"tokenEndpointAuthMethod,omitempty"`

	// AccessTokenFormat is jwt or opaque. Omitted: as the server has it.
	// +optional
	AccessTokenFormat AccessTokenFormat `json:"accessTokenFormat,omitempty"`

	// AccessTokenSigningAlg is the algorithm that signs access tokens: RS256 or
	// ES256. Omitted: as the server has it.
	// +optional
	AccessTokenSigningAlg SigningAlg `json:"accessTokenSigningAlg,omitempty"`

	// IDTokenSigningAlg is the algorithm that signs ID tokens: RS256 or ES256.
	// Omitted: as the server has it.
	// +optional
	IDTokenSigningAlg SigningAlg `json:"idTokenSigningAlg,omitempty"`

	// RefreshGraceSeconds is how long a refresh token whose answer was lost can be
	// used again. Omitted: as the server has it.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=3600
	RefreshGraceSeconds *int32 `json:"refreshGraceSeconds,omitempty"`

	// ClientURI is the app's website. Omitted: none.
	// +optional
	ClientURI WebURI `json:"clientURI,omitempty"`

	// PolicyURI is the app's privacy policy. Omitted: none.
	// +optional
	PolicyURI WebURI `json:"policyURI,omitempty"`

	// TOSURI is the app's terms of service. Omitted: none.
	// +optional
	TOSURI WebURI `json:"tosURI,omitempty"`

	// Enabled false makes the server refuse every token request of the app
	// without losing its registration. Omitted: true.
	// +optional
	Enabled *bool `json:"enabled,omitempty"`

	// Credentials say how the app authenticates and where its credentials are.
	// Omitted: type Secret for a Confidential client, None for a Public one.
	// +optional
	Credentials *Credentials `json:"credentials,omitempty"`

	// DeletionPolicy is Delete, or Orphan to leave the client and its Secret
	// when the object is deleted, where an access rule allows that. Omitted:
	// Delete.
	// +optional
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// DriftPolicy is Repair, or Report to leave changes that somebody made on
	// the server and name them in the condition Drifted; what access rules do not
	// allow is taken away all the same. Omitted: Repair.
	// +optional
	DriftPolicy DriftPolicy `json:"driftPolicy,omitempty"`

	// Suspend true stops the manager from changing anything for this object, but
	// for taking away what access rules do not allow. A deletion still happens.
	// Omitted: false.
	// +optional
	Suspend *bool `json:"suspend,omitempty"`
}

// TokenServerReference names a TokenServer.
type TokenServerReference struct {
	// Name of the TokenServer.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// ClientType tells whether a client can keep a secret (RFC 6749 section 2.1).
// +kubebuilder:validation:Enum=Confidential;Public
type ClientType string

// Client types.
const (
	// ClientConfidential can keep a secret.
	ClientConfidential ClientType = "Confidential"
	// ClientPublic cannot; it authenticates by PKCE alone.
	ClientPublic ClientType = "Public"
)

// TokenEndpointAuthMethod is how a client authenticates at the token endpoint, by
// its name on the wire (RFC 7591 section 2).
// +kubebuilder:validation:Enum=client_secret_post;client_secret_basic;private_key_jwt;none
type TokenEndpointAuthMethod string

// AccessTokenFormat is what access tokens look like.
// +kubebuilder:validation:Enum=jwt;opaque
type AccessTokenFormat string

// SigningAlg is a JWS algorithm (RFC 7518 section 3.1).
// +kubebuilder:validation:Enum=RS256;ES256
type SigningAlg string

// RedirectURI is where an authorization response may be sent. The rules name all
// that may stand between "://" and the path, so that no user name passes for a
// host; internal/plan reads redirect URIs by the same rules, and a fuzz target
// of test/schema looks for one that the two read differently.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=2000
// +kubebuilder:validation:XValidation:rule="self.matches('^[!-~]*$') && !self.contains('#') && !self.contains('\\\\')",message="must have no fragment, and neither spaces, backslashes nor characters beyond ASCII; percent-encode them"
// +kubebuilder:validation:XValidation:rule="self.startsWith('https://') || self.startsWith('http://') || (self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)+:') && self.indexOf(':') <= 253)",message="must begin with https://, with http:// on localhost, 127.0.0.1 or [::1], or for a Public client with a private-use scheme in reverse-domain form, such as com.example.app:/callback; all in lower case"
// +kubebuilder:validation:XValidation:rule="!self.matches('^[^:/?]*[.][^:/?]*:') || (isURL(self) && self.matches('^[^:]*:/([^/]|$)'))",message="must have exactly one slash after a private-use scheme, no host, and whole percent-encodings: com.example.app:/callback"
// +kubebuilder:validation:XValidation:rule="!self.matches('^https?://') || (isURL(self) && self.matches('^https?://([A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?([.][A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*|[[][0-9a-fA-F:.]+[]])(:[^/?@]*)?([/?]|$)') && url(self).getHostname().size() <= 253 && (!self.matches('^https?://[[]') || isIP(self.substring(self.indexOf('[') + 1, self.indexOf(']')))))",message="must have a host name or address after ://, with neither a user name nor a wildcard, and whole percent-encodings: https://app.example.com/callback"
// +kubebuilder:validation:XValidation:rule="!self.startsWith('http://') || !isURL(self) || url(self).getHostname() in ['localhost', '127.0.0.1', '::1']",message="must be https: http is for localhost, 127.0.0.1 and [::1], an app on a person's own machine"
// +kubebuilder:validation:XValidation:rule="!self.matches('^https?://[^/?]*:[0-9]*([/?]|$)') || !isURL(self) || (self.matches('^https?://[^/?]*:[1-9][0-9]{0,4}([/?]|$)') && int(url(self).getPort()) <= 65535)",message="must have a port from 1 to 65535 after the host, or none"
type RedirectURI string

// WebURI is the address of a page for people.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=2000
// +kubebuilder:validation:XValidation:rule="self.matches('^https?://[^/?#@ ]+([/?#][!-~]*)?$')",message="must be an absolute http or https address"
type WebURI string

// ScopeAssignment is a scope, and for apps with client_credentials the context
// it is assigned in.
type ScopeAssignment struct {
	// Scope is the scope's name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[!#-\[\]-~]+$`
	Scope string `json:"scope"`

	// OrganizationID is the organization the scope is assigned in. Omitted: the
	// app's own.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	OrganizationID string `json:"organizationID,omitempty"`

	// EnvironmentID is the environment the scope is assigned in. Omitted: none.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	EnvironmentID string `json:"environmentID,omitempty"`
}

// PublicKey is one key, written here or kept in a ConfigMap.
//
// +kubebuilder:validation:XValidation:rule="has(self.pem) != has(self.configMapRef)",message="needs exactly one of pem and configMapRef"
type PublicKey struct {
	// PEM is a public key or certificate in PEM, RSA of 2048 bits or more, EC or
	// Ed25519. It reaches the server byte for byte. Required without configMapRef.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16384
	// +kubebuilder:validation:XValidation:rule="!self.contains('PRIVATE KEY')",message="is a private key: register the public key, and treat this one as disclosed"
	// +kubebuilder:validation:XValidation:rule="self.contains('PRIVATE KEY') || self.matches('^\\\\s*-----BEGIN (PUBLIC KEY|CERTIFICATE)-----[A-Za-z0-9+/=\\\\s]+-----END (PUBLIC KEY|CERTIFICATE)-----\\\\s*$')",message="must be one PEM block: -----BEGIN PUBLIC KEY----- or -----BEGIN CERTIFICATE-----, base64, and its end line"
	PEM string `json:"pem,omitempty"`

	// ConfigMapRef names a key of a ConfigMap in the same namespace that holds
	// such PEM. Required without pem.
	// +optional
	ConfigMapRef *ConfigMapKeyReference `json:"configMapRef,omitempty"`
}

// CredentialsType is a way for an app to authenticate.
// +kubebuilder:validation:Enum=Secret;ExistingSecret;ServiceAccount;PrivateKey;None
type CredentialsType string

// Types of credentials.
const (
	// CredentialsSecret has the manager put id and secret into a Secret it makes.
	CredentialsSecret CredentialsType = "Secret"
	// CredentialsExistingSecret has the manager give the client the secret it
	// finds in a Secret somebody else makes. It waits for that Secret and never
	// invents a value.
	CredentialsExistingSecret CredentialsType = "ExistingSecret"
	// CredentialsServiceAccount has Pods authenticate with the tokens of their
	// ServiceAccount. There is no secret at all: what else they need to know is in a
	// ConfigMap.
	CredentialsServiceAccount CredentialsType = "ServiceAccount"
	// CredentialsPrivateKey has the app sign with private keys that nobody else
	// has, of which the server knows the public ones (private_key_jwt).
	CredentialsPrivateKey CredentialsType = "PrivateKey"
	// CredentialsNone is for Public clients, which have no secret.
	CredentialsNone CredentialsType = "None"
)

// HasClientSecret tells whether an app with credentials of the type authenticates
// with a client secret.
func (t CredentialsType) HasClientSecret() bool {
	return t == CredentialsSecret || t == CredentialsExistingSecret
}

// Credentials say how an app authenticates and where its credentials are.
//
// +kubebuilder:validation:XValidation:rule="(self.type == 'ServiceAccount') == (has(self.serviceAccounts) && self.serviceAccounts.size() > 0)",message="type ServiceAccount needs serviceAccounts, those that Pods of the app run as, and no other type uses them",fieldPath=".serviceAccounts"
// +kubebuilder:validation:XValidation:rule="self.type != 'ServiceAccount' || !has(self.secret) || !has(self.secret.preset) || self.secret.preset != 'servicebinding'",message="type ServiceAccount publishes a ConfigMap, and a service binding is a Secret; choose another preset",fieldPath=".secret.preset"
// +kubebuilder:validation:XValidation:rule="self.type != 'ExistingSecret' || (has(self.secret) && has(self.secret.name))",message="type ExistingSecret needs secret.name: the Secret to read",fieldPath=".secret.name"
// +kubebuilder:validation:XValidation:rule="self.type != 'ExistingSecret' || !has(self.secret) || !has(self.secret.metadata)",message="the manager does not write a Secret of type ExistingSecret; set its metadata where it is made",fieldPath=".secret.metadata"
// +kubebuilder:validation:XValidation:rule="self.type == 'Secret' || !has(self.rotation)",message="rotation is for type Secret, whose client secret the manager makes; rotate an ExistingSecret where it is made, and leave rotation out",fieldPath=".rotation"
type Credentials struct {
	// Type is Secret: the manager makes a Secret with id, secret and endpoints;
	// ExistingSecret: the manager takes the client secret from a Secret made by
	// somebody else, which must carry the label connectedapps.dev/secret:
	// referenced; ServiceAccount: Pods authenticate with tokens of their
	// ServiceAccount, there is no secret, and a ConfigMap holds id and endpoints;
	// PrivateKey: the app signs with a key whose public part is in publicKeys, the
	// Secret holds id and endpoints; None: the client is Public and has no secret,
	// the Secret holds id and endpoints.
	// +required
	Type CredentialsType `json:"type"`

	// Secret says what the Secret is called and what its keys are; for type
	// ServiceAccount the ConfigMap. Omitted: as its members say.
	// +optional
	Secret *CredentialsSecretSpec `json:"secret,omitempty"`

	// Rotation says when the client secret is replaced by another. Omitted: only
	// when the annotation connectedapps.dev/rotate-requested-at asks for it.
	// +optional
	Rotation *Rotation `json:"rotation,omitempty"`

	// ServiceAccounts are those of the app's namespace whose tokens authenticate
	// it, for type ServiceAccount. The one called default, which every Pod has that
	// names none, needs an access rule with allowDefaultServiceAccount. Required with
	// type ServiceAccount, and for no other.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	ServiceAccounts []ServiceAccountReference `json:"serviceAccounts,omitempty"`
}

// ServiceAccountReference names a ServiceAccount of the same namespace.
type ServiceAccountReference struct {
	// Name of the ServiceAccount.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name"`
}

// Rotation says when a client secret is replaced, and how long the replaced one
// is accepted beside the new one.
//
// +kubebuilder:validation:XValidation:rule="!has(self.interval) || !has(self.overlap) || ![self.interval, self.overlap].all(d, d.matches('^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$')) || duration(self.overlap) <= duration(self.interval)",message="must be at most the interval: secrets would pile up that nobody needs",fieldPath=".overlap"
type Rotation struct {
	// Interval is the time from one rotation to the next; up to a tenth of it may
	// be missing, so that apps made together do not all rotate at once. Omitted: no
	// schedule, rotation happens on request.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$') && duration(self) >= duration('1h') && duration(self) <= duration('8760h')",message="must be a duration from 1h to 8760h, such as 720h for 30 days: the largest unit is the hour"
	Interval *metav1.Duration `json:"interval,omitempty"`

	// Overlap is how long a client secret that was replaced is accepted at the
	// longest: whoever read it has that time to read again. Omitted: 24h, or the
	// interval when that is shorter.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$') && duration(self) >= duration('10m') && duration(self) <= duration('8760h')",message="must be a duration from 10m to 8760h, such as 24h: the largest unit is the hour"
	Overlap *metav1.Duration `json:"overlap,omitempty"`
}

// CredentialsSecretSpec says what a credentials Secret is called and what its
// keys are.
//
// +kubebuilder:validation:XValidation:rule="!has(self.keys) || ['client-id', 'client-secret', 'issuer-url', 'token-url', 'internal-token-url', 'authorization-url', 'jwks-url', 'userinfo-url', 'introspection-url', 'scopes', 'auth-method', 'type', 'provider', 'ca.crt'].all(n, n in self.keys || !self.keys.exists(k, self.keys[k] == (!has(self.preset) ? n : self.preset == 'snake' ? n.replace('-', '_').replace('.', '_') : self.preset == 'env' ? n.replace('-', '_').replace('.', '_').upperAscii() : n)))",message="must not give a value the name that the preset gives to another; rename that one too",fieldPath=".keys"
type CredentialsSecretSpec struct {
	// Name of the Secret. Omitted: the object's name with -credentials.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name,omitempty"`

	// Preset is how the keys are written: kebab, client-id; snake, client_id;
	// env, CLIENT_ID; servicebinding, as kebab in a Secret of type
	// servicebinding.io/oauth2. Omitted: kebab.
	// +optional
	Preset KeyPreset `json:"preset,omitempty"`

	// Keys rename single keys: the name in the preset kebab, such as client-id,
	// to the name wanted. Omitted: none.
	// +optional
	// +kubebuilder:validation:MaxProperties=14
	// +kubebuilder:validation:XValidation:rule="self.all(k, k in ['client-id', 'client-secret', 'issuer-url', 'token-url', 'internal-token-url', 'authorization-url', 'jwks-url', 'userinfo-url', 'introspection-url', 'scopes', 'auth-method', 'type', 'provider', 'ca.crt'])",message="can rename client-id, client-secret, issuer-url, token-url, internal-token-url, authorization-url, jwks-url, userinfo-url, introspection-url, scopes, auth-method, type, provider and ca.crt"
	// +kubebuilder:validation:XValidation:rule="self.all(k, self.exists_one(j, self[j] == self[k]))",message="must give each value a name of its own"
	Keys map[string]SecretKey `json:"keys,omitempty"`

	// Metadata are labels and annotations of the Secret. The object's own are
	// not copied. Omitted: none but the manager's.
	// +optional
	Metadata *SecretMetadata `json:"metadata,omitempty"`

	// Restart are workloads that cannot read the Secret again: each is rolled out
	// once when what the manager writes into it changes. Omitted: none.
	// +optional
	// +listType=map
	// +listMapKey=kind
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Restart []WorkloadReference `json:"restart,omitempty"`
}

// SecretKey is a key of a Secret's data.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:XValidation:rule="self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && !self.startsWith('..')",message="must consist of letters, digits, '-', '_' and '.'"
type SecretKey string

// KeyPreset is a way to write the keys of a credentials Secret.
// +kubebuilder:validation:Enum=kebab;snake;env;servicebinding
type KeyPreset string

// Presets.
const (
	// PresetKebab writes client-id.
	PresetKebab KeyPreset = "kebab"
	// PresetSnake writes client_id.
	PresetSnake KeyPreset = "snake"
	// PresetEnv writes CLIENT_ID.
	PresetEnv KeyPreset = "env"
	// PresetServiceBinding writes client-id in a Secret of type
	// servicebinding.io/oauth2 (https://servicebinding.io/spec/core/1.1.0/).
	PresetServiceBinding KeyPreset = "servicebinding"
)

// DeletionPolicy says what a deletion leaves behind.
// +kubebuilder:validation:Enum=Delete;Orphan
type DeletionPolicy string

// Deletion policies.
const (
	// DeletionDelete deletes the client and its Secret.
	DeletionDelete DeletionPolicy = "Delete"
	// DeletionOrphan leaves both.
	DeletionOrphan DeletionPolicy = "Orphan"
)

// DriftPolicy says what happens to changes somebody made on the server.
// +kubebuilder:validation:Enum=Repair;Report
type DriftPolicy string

// Drift policies.
const (
	// DriftRepair undoes them.
	DriftRepair DriftPolicy = "Repair"
	// DriftReport names them and leaves them.
	DriftReport DriftPolicy = "Report"
)

// ConnectedAppStatus is the client as it is.
type ConnectedAppStatus struct {
	// ObservedGeneration is the generation of the spec that the conditions speak
	// of; -1 before the manager saw the object.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// ClientID is the client's id on the token server.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	ClientID string `json:"clientID,omitempty"`

	// Issuer is the token server's name in tokens.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Issuer string `json:"issuer,omitempty"`

	// Compared is the record of the last comparison of the client with the spec.
	// +optional
	Compared *ComparedClient `json:"compared,omitempty"`

	// Secrets are the client's secrets that were published and that the token
	// server still accepts, by their ids there, the youngest last. The values are in
	// the Secret alone.
	// +optional
	// +listType=map
	// +listMapKey=id
	// +kubebuilder:validation:MaxItems=100
	Secrets []ClientSecretStatus `json:"secrets,omitempty"`

	// LastHandledRotateAt repeats the annotation
	// connectedapps.dev/rotate-requested-at once it was followed: the digest of a
	// value of more than 64 characters.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	LastHandledRotateAt string `json:"lastHandledRotateAt,omitempty"`

	// ReferencedSecretVersion is the version of the ExistingSecret whose value
	// the client was last given.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	ReferencedSecretVersion string `json:"referencedSecretVersion,omitempty"`

	// SecretRepairs counts how often the Secret was written anew because somebody
	// else changed or deleted it. A day without one ends the count.
	// +optional
	SecretRepairs *SecretRepairs `json:"secretRepairs,omitempty"`

	// Binding names the Secret, as the Service Binding specification expects it
	// (https://servicebinding.io/spec/core/1.1.0/#provisioned-service). Absent for
	// credentials of type ServiceAccount.
	// +optional
	Binding *SecretBinding `json:"binding,omitempty"`

	// ConfigMap names the ConfigMap with what workloads need to know, for
	// credentials of type ServiceAccount.
	// +optional
	ConfigMap *ConfigMapReference `json:"configMap,omitempty"`

	// Conditions: Ready, Reconciling, Stalled, PolicyAccepted, Registered,
	// SecretPublished, Drifted, Rotating, WorkloadsCurrent.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ComparedClient is the record of a comparison. What differs later from what is
// written here was changed by somebody else.
type ComparedClient struct {
	// Revision is the token server's mark of the client's state when it was
	// compared. Empty: the server has no such marks.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Revision string `json:"revision,omitempty"`

	// Digests of what the client was found with or given, with a dot between them:
	// one for each field, in an order that stays the same. An empty one: the field
	// was not compared.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Digests string `json:"digests,omitempty"`

	// NotKept are digests of what the server was given and what it made of that,
	// by the field's name in the spec: it is not sent again while it is so.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	NotKept map[string]FieldDigest `json:"notKept,omitempty"`
}

// FieldDigest stands for the value of a field.
// +kubebuilder:validation:MaxLength=64
type FieldDigest string

// SecretRepairs counts repairs of a Secret.
type SecretRepairs struct {
	// Count of the repairs that followed one another.
	// +required
	// +kubebuilder:validation:Minimum=1
	Count int32 `json:"count"`

	// LastTime is when the last one was made.
	// +required
	LastTime metav1.Time `json:"lastTime"`
}

// ClientSecretStatus is what is known of a client secret besides its value.
type ClientSecretStatus struct {
	// ID of the secret on the token server.
	// +required
	// +kubebuilder:validation:MaxLength=256
	ID string `json:"id"`

	// CreatedAt is when it was published.
	// +optional
	CreatedAt *metav1.Time `json:"createdAt,omitempty"`

	// SecretNames are the Secrets that it was published in.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=253
	SecretNames []string `json:"secretNames,omitempty"`

	// ReplacedAt is when another was published in its place. Omitted: none was.
	// +optional
	ReplacedAt *metav1.Time `json:"replacedAt,omitempty"`

	// ExpiresAt is when the token server stops accepting it, if it is not retired
	// before. Omitted: it is not known to end.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`

	// LastUsedAt is when the token server last saw it used, as of the last
	// decision about its end, and to the hour. Omitted: not known to be used.
	// +optional
	LastUsedAt *metav1.Time `json:"lastUsedAt,omitempty"`
}

// SecretBinding names a Secret.
type SecretBinding struct {
	// Name of the Secret.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// ConfigMapReference names a ConfigMap.
type ConfigMapReference struct {
	// Name of the ConfigMap.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// GetStatus returns the whole status.
func (a *ConnectedApp) GetStatus() any { return &a.Status }

// GetConditions returns the conditions of the status.
func (a *ConnectedApp) GetConditions() *[]metav1.Condition { return &a.Status.Conditions }

// GetObservedGeneration returns where the status keeps the generation.
func (a *ConnectedApp) GetObservedGeneration() *int64 { return &a.Status.ObservedGeneration }

// TokenServerName is the name of the TokenServer the app belongs to.
func (a *ConnectedApp) TokenServerName() string {
	if a.Spec.TokenServerRef == nil {
		return DefaultTokenServer
	}
	return a.Spec.TokenServerRef.Name
}

// Suspended tells whether the manager leaves the app alone.
func (a *ConnectedApp) Suspended() bool { return a.Spec.Suspend != nil && *a.Spec.Suspend }

// CredentialsType is how the app authenticates: Secret, or None for a Public
// client, when the spec does not say.
func (a *ConnectedApp) CredentialsType() CredentialsType {
	switch {
	case a.Spec.Credentials != nil:
		return a.Spec.Credentials.Type
	case a.Spec.ClientType == ClientPublic:
		return CredentialsNone
	}
	return CredentialsSecret
}

// CredentialsSecretName is the name of the Secret with the app's credentials.
func (a *ConnectedApp) CredentialsSecretName() string {
	if c := a.Spec.Credentials; c != nil && c.Secret != nil && c.Secret.Name != "" {
		return c.Secret.Name
	}
	return a.Name + "-credentials"
}

// PublishedSecretName is the name of the Secret that the manager writes, for type
// ServiceAccount of the ConfigMap: for type ExistingSecret a companion of that
// one, which holds all but the client secret.
func (a *ConnectedApp) PublishedSecretName() string {
	name := a.CredentialsSecretName()
	if a.CredentialsType() != CredentialsExistingSecret {
		return name
	}
	if companion := a.Name + "-credentials"; companion != name {
		return companion
	}
	return a.Name + "-client"
}

// ConnectedAppList is a list of ConnectedApps.
//
// +kubebuilder:object:root=true
type ConnectedAppList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ConnectedApp `json:"items"`
}
