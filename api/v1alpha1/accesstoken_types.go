// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AccessToken is an access token of a ConnectedApp that the manager keeps fresh
// in a Secret, for workloads to mount.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,shortName=atok,categories=capps
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="App",type=string,JSONPath=`.spec.connectedAppRef.name`
// +kubebuilder:printcolumn:name="Secret",type=string,JSONPath=`.status.binding.name`
// +kubebuilder:printcolumn:name="Issued",type=date,JSONPath=`.status.issuedAt`
// +kubebuilder:printcolumn:name="Expires",type=string,format=date-time,JSONPath=`.status.expiresAt`,priority=1
// +kubebuilder:printcolumn:name="Next-Refresh",type=string,format=date-time,JSONPath=`.status.nextRefreshTime`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 52",message="metadata.name must have at most 52 characters, so that the name of its Secret fits",fieldPath=".metadata"
// +kubebuilder:validation:XValidation:rule="!has(self.spec.secret) || !has(self.spec.secret.name) || self.spec.secret.name != self.metadata.name + '-refresh-token'",message="must not be metadata.name with -refresh-token, where refresh tokens are kept",fieldPath=".spec.secret.name"
// +kubebuilder:validation:XValidation:rule="!has(self.spec.grant) || !has(self.spec.grant.refreshToken) || self.spec.grant.refreshToken.seedSecretRef.name != self.metadata.name + '-refresh-token'",message="must not be metadata.name with -refresh-token, where the manager keeps those that come after it",fieldPath=".spec.grant.refreshToken.seedSecretRef.name"
type AccessToken struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is which token, and where it goes.
	// +required
	Spec AccessTokenSpec `json:"spec"`

	// Status is the token's life, never the token.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status AccessTokenStatus `json:"status,omitempty"`
}

// AccessTokenSpec is which token, and where it goes.
type AccessTokenSpec struct {
	// ConnectedAppRef names the app, in the same namespace, whose token it is. It
	// never changes: the token of one app is not replaced by another's.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="is immutable: delete this AccessToken and create one for the other app"
	ConnectedAppRef ConnectedAppReference `json:"connectedAppRef"`

	// Secret says what the Secret is called. Its keys are access-token,
	// token-type, expires-at, token.json, and id-token when one is issued. Omitted:
	// as its members say.
	// +optional
	Secret *TokenSecretSpec `json:"secret,omitempty"`

	// Scopes to ask for. Omitted: all the app has.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=200
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:Pattern=`^[!#-\[\]-~]+$`
	Scopes []string `json:"scopes,omitempty"`

	// Grant is how the token is obtained. Omitted: type ClientCredentials.
	// +optional
	Grant *Grant `json:"grant,omitempty"`

	// Restart are workloads that cannot read the Secret again: each is rolled out
	// once when the token changes, which is about once per half its life. Omitted:
	// none.
	// +optional
	// +listType=map
	// +listMapKey=kind
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Restart []WorkloadReference `json:"restart,omitempty"`

	// DeletionPolicy is Revoke, to end the token when the object is deleted, or
	// Retain, to let it expire by itself. Omitted: Retain for grant type
	// RefreshToken, since the user's login would end, Revoke for all others.
	// +optional
	DeletionPolicy TokenDeletionPolicy `json:"deletionPolicy,omitempty"`

	// Suspend true stops refreshing; the last token stays until it expires.
	// Omitted: false.
	// +optional
	Suspend *bool `json:"suspend,omitempty"`
}

// ConnectedAppReference names a ConnectedApp in the same namespace.
type ConnectedAppReference struct {
	// Name of the ConnectedApp.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=52
	Name string `json:"name"`
}

// TokenSecretSpec says what a token Secret is called.
type TokenSecretSpec struct {
	// Name of the Secret. Omitted: the object's name with -token.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name,omitempty"`

	// Metadata are labels and annotations of the Secret. The object's own are
	// not copied. Omitted: none but the manager's.
	// +optional
	Metadata *SecretMetadata `json:"metadata,omitempty"`
}

// AccessTokenGrantType is a way the manager obtains a token.
// +kubebuilder:validation:Enum=ClientCredentials;RefreshToken;Password;JWTBearer
type AccessTokenGrantType string

// The ways.
const (
	// AccessTokenClientCredentials uses the app's own credentials (RFC 6749
	// section 4.4).
	AccessTokenClientCredentials AccessTokenGrantType = "ClientCredentials"
	// AccessTokenRefreshToken goes on with what a user allowed the app (RFC 6749
	// section 6).
	AccessTokenRefreshToken AccessTokenGrantType = "RefreshToken"
	// AccessTokenPassword logs in with a user's name and password (RFC 6749
	// section 4.3).
	AccessTokenPassword AccessTokenGrantType = "Password"
	// AccessTokenJWTBearer speaks for a user by an assertion that the app signs
	// (RFC 7523 section 2.1).
	AccessTokenJWTBearer AccessTokenGrantType = "JWTBearer"
)

// Grant is how a token is obtained.
//
// +kubebuilder:validation:XValidation:rule="(self.type == 'RefreshToken') == has(self.refreshToken)",message="is for type RefreshToken, which needs it",fieldPath=".refreshToken"
// +kubebuilder:validation:XValidation:rule="(self.type == 'Password') == has(self.password)",message="is for type Password, which needs it",fieldPath=".password"
// +kubebuilder:validation:XValidation:rule="(self.type == 'JWTBearer') == has(self.jwtBearer)",message="is for type JWTBearer, which needs it",fieldPath=".jwtBearer"
type Grant struct {
	// Type is ClientCredentials: the app acts for itself; RefreshToken, Password or
	// JWTBearer: it acts for a user. The Secret that such a grant names must carry
	// the label connectedapps.dev/secret: referenced.
	// +required
	Type AccessTokenGrantType `json:"type"`

	// RefreshToken says what the first refresh token is. Required with type
	// RefreshToken, and for no other.
	// +optional
	RefreshToken *RefreshTokenGrant `json:"refreshToken,omitempty"`

	// Password says who logs in. Required with type Password, and for no other.
	// +optional
	Password *PasswordGrant `json:"password,omitempty"`

	// JWTBearer says whom the app speaks for, and with which key. Required with type
	// JWTBearer, and for no other.
	// +optional
	JWTBearer *JWTBearerGrant `json:"jwtBearer,omitempty"`
}

// RefreshTokenGrant is a chain of refresh tokens: each answer of the server brings
// the next one, which the manager keeps in a Secret of its own.
type RefreshTokenGrant struct {
	// SeedSecretRef names the first refresh token, as a login made it. It is read
	// and never written; another value begins another chain.
	// +required
	SeedSecretRef SecretKeyReference `json:"seedSecretRef"`
}

// PasswordGrant is a user's name and password.
type PasswordGrant struct {
	// SecretRef names a Secret with the keys username and password.
	// +required
	SecretRef SecretReference `json:"secretRef"`
}

// JWTBearerGrant is an assertion about a user.
type JWTBearerGrant struct {
	// Subject is the user, as the token server names its users in assertions.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Subject string `json:"subject"`

	// PrivateKeySecretRef names the PEM private key of one of the app's public keys.
	// +required
	PrivateKeySecretRef SecretKeyReference `json:"privateKeySecretRef"`
}

// TokenDeletionPolicy says what a deletion does with the token.
// +kubebuilder:validation:Enum=Revoke;Retain
type TokenDeletionPolicy string

// Deletion policies of tokens.
const (
	// TokenRevoke revokes the token, in one attempt.
	TokenRevoke TokenDeletionPolicy = "Revoke"
	// TokenRetain lets it expire by itself.
	TokenRetain TokenDeletionPolicy = "Retain"
)

// AccessTokenStatus is the token's life, never the token.
type AccessTokenStatus struct {
	// ObservedGeneration is the generation of the spec that the conditions speak
	// of; -1 before the manager saw the object.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// IssuedAt is when the token in the Secret was issued.
	// +optional
	IssuedAt *metav1.Time `json:"issuedAt,omitempty"`

	// ExpiresAt is when the token in the Secret expires.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`

	// NextRefreshTime is when the next one is fetched.
	// +optional
	NextRefreshTime *metav1.Time `json:"nextRefreshTime,omitempty"`

	// LastHandledRefreshAt repeats the annotation
	// connectedapps.dev/refresh-requested-at once it was followed.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	LastHandledRefreshAt string `json:"lastHandledRefreshAt,omitempty"`

	// Binding names the Secret.
	// +optional
	Binding *SecretBinding `json:"binding,omitempty"`

	// Conditions: Ready, Reconciling, Stalled, TokenFresh, WorkloadsCurrent.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// GrantType is how the token is obtained.
func (t *AccessToken) GrantType() AccessTokenGrantType {
	if t.Spec.Grant == nil {
		return AccessTokenClientCredentials
	}
	return t.Spec.Grant.Type
}

// GrantSecretName is the Secret that the grant names; empty: none.
func (t *AccessToken) GrantSecretName() string {
	switch grant := t.Spec.Grant; {
	case grant == nil:
	case grant.RefreshToken != nil:
		return grant.RefreshToken.SeedSecretRef.Name
	case grant.Password != nil:
		return grant.Password.SecretRef.Name
	case grant.JWTBearer != nil:
		return grant.JWTBearer.PrivateKeySecretRef.Name
	}
	return ""
}

// ChainSecretName is the name of the Secret that the manager keeps the chain of
// refresh tokens in.
func (t *AccessToken) ChainSecretName() string { return t.Name + "-refresh-token" }

// GetStatus returns the whole status.
func (t *AccessToken) GetStatus() any { return &t.Status }

// GetConditions returns the conditions of the status.
func (t *AccessToken) GetConditions() *[]metav1.Condition { return &t.Status.Conditions }

// GetObservedGeneration returns where the status keeps the generation.
func (t *AccessToken) GetObservedGeneration() *int64 { return &t.Status.ObservedGeneration }

// Suspended tells whether the manager leaves the token alone.
func (t *AccessToken) Suspended() bool { return t.Spec.Suspend != nil && *t.Spec.Suspend }

// SecretName is the name of the Secret the token goes to.
func (t *AccessToken) SecretName() string {
	if s := t.Spec.Secret; s != nil && s.Name != "" {
		return s.Name
	}
	return t.Name + "-token"
}

// AccessTokenList is a list of AccessTokens.
//
// +kubebuilder:object:root=true
type AccessTokenList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AccessToken `json:"items"`
}
