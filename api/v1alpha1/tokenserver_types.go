// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TokenServer is an OAuth 2.0 / OpenID Connect server that apps are registered
// on, and the rules that say which namespace may ask it for what.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=toks,categories=capps
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.spec.url`
// +kubebuilder:printcolumn:name="Organization",type=string,JSONPath=`.status.organizationID`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type TokenServer struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is how to reach the server and who may use it for what.
	// +required
	Spec TokenServerSpec `json:"spec"`

	// Status is what the manager found.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status TokenServerStatus `json:"status,omitempty"`
}

// TokenServerSpec is how to reach a token server and who may use it for what.
type TokenServerSpec struct {
	// URL is the server's public URL, to which the issuer belongs. It must be
	// https, or http on a loopback address, without a slash at the end.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="isURL(self) && (url(self).getScheme() == 'https' || (url(self).getScheme() == 'http' && url(self).getHostname() in ['localhost', '127.0.0.1', '::1', '[::1]']))",message="must be an https URL, or http on localhost, 127.0.0.1 or [::1]"
	// +kubebuilder:validation:XValidation:rule="!self.endsWith('/') && !self.contains('?') && !self.contains('#') && !self.contains('@')",message="must have no slash at the end, no query, no fragment and no user name"
	URL string `json:"url"`

	// InternalURL is where the manager and workloads in the cluster connect,
	// when that differs from URL. Tokens still name the public issuer. Omitted: url.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="isURL(self) && (url(self).getScheme() == 'https' || (url(self).getScheme() == 'http' && url(self).getHostname() in ['localhost', '127.0.0.1', '::1', '[::1]']))",message="must be an https URL, or http on localhost, 127.0.0.1 or [::1]"
	// +kubebuilder:validation:XValidation:rule="!self.endsWith('/') && !self.contains('?') && !self.contains('#') && !self.contains('@')",message="must have no slash at the end, no query, no fragment and no user name"
	InternalURL string `json:"internalURL,omitempty"`

	// OrganizationID is the organization apps are registered in. Omitted: the
	// organization of the credentials.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	OrganizationID string `json:"organizationID,omitempty"`

	// CABundle holds the certificates that sign the server's. Omitted: the
	// system's.
	// +optional
	CABundle *CABundle `json:"caBundle,omitempty"`

	// Credentials are what the manager logs in with.
	// +required
	Credentials TokenServerCredentials `json:"credentials"`

	// RequestsPerSecond is the most management calls the manager makes each
	// second. Omitted: no limit for a server that offers extensions of the
	// management API (status.extensions), which says when it is too much; 50 for
	// others.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	RequestsPerSecond *int32 `json:"requestsPerSecond,omitempty"`

	// DeletionTimeout is how long a ConnectedApp that is being deleted waits for
	// a server that does not answer. After it the object goes and the client is
	// remembered, to be deleted when the server is back. Omitted: 10m.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$') && duration(self) >= duration('0s') && duration(self) <= duration('168h')",message="must be a duration from 0s to 168h, such as 10m: the largest unit is the hour"
	DeletionTimeout *metav1.Duration `json:"deletionTimeout,omitempty"`

	// WorkloadIssuer is what the token server calls this cluster among the issuers
	// of workload tokens that it trusts, of the bundled server name in its
	// configuration's workloadIssuers. Omitted: it is not known, and apps cannot
	// have credentials of type ServiceAccount.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	WorkloadIssuer string `json:"workloadIssuer,omitempty"`

	// Access are the rules that say which namespace may have which apps. An app
	// is allowed when one rule allows all of it. Omitted: nothing is allowed.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=100
	Access []AccessRule `json:"access,omitempty"`
}

// CABundle is where certificate authorities are found.
type CABundle struct {
	// ConfigMapRef names a key of a ConfigMap in the manager's namespace that
	// holds PEM certificates.
	// +required
	ConfigMapRef ConfigMapKeyReference `json:"configMapRef"`
}

// TokenServerCredentialsType is a way of logging in.
// +kubebuilder:validation:Enum=Secret;ServiceAccount
type TokenServerCredentialsType string

// Ways of logging in.
const (
	// TokenServerCredentialsSecret logs in with a client id and secret from a
	// Secret.
	TokenServerCredentialsSecret TokenServerCredentialsType = "Secret"
	// TokenServerCredentialsServiceAccount logs in with a token of the manager's own
	// ServiceAccount, which the server trusts as a federated identity of an app.
	TokenServerCredentialsServiceAccount TokenServerCredentialsType = "ServiceAccount"
)

// TokenServerCredentials are what the manager logs in with.
// +kubebuilder:validation:XValidation:rule="(self.type == 'Secret') == has(self.secretRef)",message="is for type Secret, which needs it",fieldPath=".secretRef"
// +kubebuilder:validation:XValidation:rule="(self.type == 'ServiceAccount') == has(self.clientID)",message="is for type ServiceAccount, which needs it",fieldPath=".clientID"
type TokenServerCredentials struct {
	// Type of the credentials. Secret: a client id and secret with the scope
	// manage:orgconnapps. ServiceAccount: the manager's own ServiceAccount, which is
	// a federated identity of an app with that scope.
	// +required
	Type TokenServerCredentialsType `json:"type"`

	// ClientID is the app's. Required with type ServiceAccount, and for no other.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[!-~]+$`
	ClientID string `json:"clientID,omitempty"`

	// Audience of the ServiceAccount's tokens. Omitted: the server's issuer, which is
	// what the bundled token server expects.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Audience string `json:"audience,omitempty"`

	// SecretRef names a Secret in the manager's namespace with the keys
	// client-id and client-secret. Required with type Secret, and for no other.
	// +optional
	SecretRef *SecretReference `json:"secretRef,omitempty"`
}

// AccessRule allows apps of some namespaces what it lists, and nothing else.
type AccessRule struct {
	// Name of the rule, as conditions of refused apps show it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name"`

	// NamespaceSelector selects the namespaces by their labels. The empty
	// selector {} selects all; every namespace has the label
	// kubernetes.io/metadata.name with its name.
	// +required
	NamespaceSelector NamespaceSelector `json:"namespaceSelector"`

	// GrantTypes an app may have.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=5
	GrantTypes []GrantType `json:"grantTypes"`

	// Scopes an app may have. Omitted: none.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=200
	Scopes []AccessScope `json:"scopes,omitempty"`

	// RedirectHosts are hosts an app's redirect URIs, those after signing out
	// included, may name, on https.
	// A leading "*." stands for one or more labels: *.example.com is
	// a.example.com and a.b.example.com, not example.com. localhost, 127.0.0.1
	// and [::1] also allow http, for apps that run on a person's machine.
	// Omitted: none.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	RedirectHosts []RedirectHost `json:"redirectHosts,omitempty"`

	// RedirectSchemes are private-use schemes that redirect URIs of public
	// native apps, those after signing out included, may have, such as
	// com.example.app, compared exactly. Omitted: none.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	RedirectSchemes []RedirectScheme `json:"redirectSchemes,omitempty"`

	// Audiences an app may have. Omitted: internal.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=2
	Audiences []Audience `json:"audiences,omitempty"`

	// IdentityProviders are those for whose users an app may speak by assertions of
	// the JWT bearer grant. Omitted: none.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	IdentityProviders []Identifier `json:"identityProviders,omitempty"`

	// AllowSkipUserConsent lets an app have its users not asked for consent.
	// Omitted: false.
	// +optional
	AllowSkipUserConsent *bool `json:"allowSkipUserConsent,omitempty"`

	// AllowAssertionsWithoutExpiry lets an app use assertions of the JWT bearer
	// grant that never expire. Omitted: false.
	// +optional
	AllowAssertionsWithoutExpiry *bool `json:"allowAssertionsWithoutExpiry,omitempty"`

	// AllowDefaultServiceAccount lets an app be authenticated by tokens of the
	// ServiceAccount called default, which every Pod of the namespace has that
	// names no other. Omitted: false.
	// +optional
	AllowDefaultServiceAccount *bool `json:"allowDefaultServiceAccount,omitempty"`

	// DeletionPolicies an app may have; without Orphan no client outlives its
	// ConnectedApp. Omitted: both.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	DeletionPolicies []DeletionPolicy `json:"deletionPolicies,omitempty"`

	// ClientIDs are clients on the server that apps may adopt, by the annotation
	// connectedapps.dev/adopt-client-id: those made by other means, and those whose
	// ConnectedApp in this cluster is gone. Where the server has no such client, the
	// app is registered under that id, if the server takes ids. It is asked when a
	// client is adopted, and not again. Omitted: none, but those whose credentials an
	// app has.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1000
	ClientIDs []ClientID `json:"clientIDs,omitempty"`
}

// ClientID is the id of a client on a token server.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
type ClientID string

// RedirectHost is a host name, or one with a leading "*.".
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:XValidation:rule="self == '[::1]' || self.matches('^([*][.])?[a-z0-9][-.a-z0-9]*$')",message="must be a host name in lower case, without scheme, port and path; a wildcard is possible only as a leading '*.'"
type RedirectHost string

// RedirectScheme is a private-use scheme: a domain name in reverse order
// (RFC 8252 section 7.1).
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=128
// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)+$')",message="must be a scheme in reverse-domain form and lower case, without colon, path and wildcard, such as com.example.app"
type RedirectScheme string

// AccessScope allows scopes by name, and the contexts they may be assigned in.
type AccessScope struct {
	// Scope is a scope's name. A trailing * stands for anything: view:* is every
	// name that begins with view:.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[!#-)+-\[\]-~]*[*]?$`
	Scope string `json:"scope"`

	// OrganizationIDs are the organizations the scope may be assigned in.
	// A scope without one is in the organization of the server's credentials.
	// Omitted: any.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	OrganizationIDs []Identifier `json:"organizationIDs,omitempty"`

	// EnvironmentIDs are the environments the scope may be assigned in; with it
	// the scope must name one of them. Omitted: any, or none.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	EnvironmentIDs []Identifier `json:"environmentIDs,omitempty"`
}

// Identifier is the id of an organization, environment or identity provider.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=128
type Identifier string

// NamespaceSelector selects namespaces by labels, as label selectors elsewhere
// do: all of matchLabels and all of matchExpressions must hold.
type NamespaceSelector struct {
	// MatchLabels are labels a namespace must have. Omitted: any.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	MatchLabels map[string]LabelValue `json:"matchLabels,omitempty"`

	// MatchExpressions are conditions on labels of a namespace. Omitted: none.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	MatchExpressions []NamespaceSelectorRequirement `json:"matchExpressions,omitempty"`
}

// NamespaceSelectorRequirement is a condition on one label.
// +kubebuilder:validation:XValidation:rule="self.operator in ['In', 'NotIn'] ? has(self.values) && self.values.size() > 0 : !has(self.values) || self.values.size() == 0",message="In and NotIn need values, Exists and DoesNotExist have none"
type NamespaceSelectorRequirement struct {
	// Key of the label.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	Key string `json:"key"`

	// Operator is In, NotIn, Exists or DoesNotExist.
	// +required
	// +kubebuilder:validation:Enum=In;NotIn;Exists;DoesNotExist
	Operator metav1.LabelSelectorOperator `json:"operator"`

	// Values of the label. Required with In and NotIn, and for no other.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Values []LabelValue `json:"values,omitempty"`
}

// TokenServerStatus is what the manager found.
type TokenServerStatus struct {
	// ObservedGeneration is the generation of the spec that the conditions speak
	// of; -1 before the manager saw the object.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Issuer is the server's name in tokens.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Issuer string `json:"issuer,omitempty"`

	// OrganizationID is the organization apps are registered in.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	OrganizationID string `json:"organizationID,omitempty"`

	// InstallationID identifies the server's database; empty for servers that
	// do not tell.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	InstallationID string `json:"installationID,omitempty"`

	// Endpoints are the server's public URLs, as its discovery document lists
	// them.
	// +optional
	Endpoints TokenServerEndpoints `json:"endpoints,omitzero"`

	// Extensions of the management API that the server offers.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MaxLength=128
	Extensions []string `json:"extensions,omitempty"`

	// RememberedClients is the number of clients of ConnectedApps that are gone
	// which are still to be deleted on the server.
	// +optional
	RememberedClients int32 `json:"rememberedClients,omitempty"`

	// OrphanedClients are clients that ConnectedApps of this cluster made, or
	// adopted, and that no ConnectedApp has any more. Absent: not known.
	// +optional
	OrphanedClients *OrphanedClients `json:"orphanedClients,omitempty"`

	// Conditions: Ready, Reconciling, Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// MaxOrphanedClientIDs is the number of orphaned clients that a status names.
const MaxOrphanedClientIDs = 20

// OrphanedClients are clients without an object.
type OrphanedClients struct {
	// Count of them.
	// +required
	// +kubebuilder:validation:Minimum=0
	Count int32 `json:"count"`

	// ClientIDs are the first of them, in the order of their ids.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	ClientIDs []ClientID `json:"clientIDs,omitempty"`
}

// TokenServerEndpoints are a server's public URLs.
type TokenServerEndpoints struct {
	// Token is the token endpoint.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Token string `json:"token,omitempty"`

	// Authorization is the authorization endpoint.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Authorization string `json:"authorization,omitempty"`

	// JWKS is where the keys are that verify tokens.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	JWKS string `json:"jwks,omitempty"`

	// UserInfo is the OpenID Connect userinfo endpoint.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	UserInfo string `json:"userinfo,omitempty"`

	// Introspection is the token introspection endpoint.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Introspection string `json:"introspection,omitempty"`

	// Revocation is the token revocation endpoint.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Revocation string `json:"revocation,omitempty"`
}

// GetStatus returns the whole status.
func (s *TokenServer) GetStatus() any { return &s.Status }

// GetConditions returns the conditions of the status.
func (s *TokenServer) GetConditions() *[]metav1.Condition { return &s.Status.Conditions }

// GetObservedGeneration returns where the status keeps the generation.
func (s *TokenServer) GetObservedGeneration() *int64 { return &s.Status.ObservedGeneration }

// TokenServerList is a list of TokenServers.
//
// +kubebuilder:object:root=true
type TokenServerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TokenServer `json:"items"`
}
