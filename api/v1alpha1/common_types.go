// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// SecretReference names a Secret.
type SecretReference struct {
	// Name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// SecretKeyReference names one key of a Secret.
type SecretKeyReference struct {
	// Name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// Key in the Secret's data.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key"`
}

// ConfigMapKeyReference names one key of a ConfigMap.
type ConfigMapKeyReference struct {
	// Name of the ConfigMap.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// Key in the ConfigMap's data.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key"`
}

// SecretMetadata is what a Secret of ours carries beside the manager's own
// labels and annotations. Keys under argocd.argoproj.io/,
// app.kubernetes.io/instance, kubectl.kubernetes.io/, helm.sh/,
// kustomize.toolkit.fluxcd.io/ and connectedapps.dev/ are refused: the tools
// that own them would take the Secret for one of theirs.
type SecretMetadata struct {
	// Labels of the Secret. Omitted: none but the manager's.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, !format.qualifiedName().validate(k).hasValue() && !format.labelValue().validate(self[k]).hasValue())",message="must be valid label names and values: at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit; a name may have a DNS prefix of at most 253 characters in lower case, and '/'"
	// +kubebuilder:validation:XValidation:rule="!self.exists(k, k == 'app.kubernetes.io/instance' || k.startsWith('argocd.argoproj.io/') || k.startsWith('kubectl.kubernetes.io/') || k.startsWith('helm.sh/') || k.startsWith('kustomize.toolkit.fluxcd.io/') || k.startsWith('connectedapps.dev/'))",message="must not use names of GitOps tools or of the manager: argocd.argoproj.io/, app.kubernetes.io/instance, kubectl.kubernetes.io/, helm.sh/, kustomize.toolkit.fluxcd.io/, connectedapps.dev/"
	Labels map[string]LabelValue `json:"labels,omitempty"`

	// Annotations of the Secret. Omitted: none but the manager's.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, !format.qualifiedName().validate(k).hasValue())",message="must have valid names: at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit; a name may have a DNS prefix of at most 253 characters in lower case, and '/'"
	// +kubebuilder:validation:XValidation:rule="self.map(k, bytes(k).size() + bytes(self[k]).size()).sum() <= 196608",message="must have at most 192 KiB in all, names and values: a Secret takes 256 KiB, and others add theirs"
	// +kubebuilder:validation:XValidation:rule="!self.exists(k, k == 'app.kubernetes.io/instance' || k.startsWith('argocd.argoproj.io/') || k.startsWith('kubectl.kubernetes.io/') || k.startsWith('helm.sh/') || k.startsWith('kustomize.toolkit.fluxcd.io/') || k.startsWith('connectedapps.dev/'))",message="must not use names of GitOps tools or of the manager: argocd.argoproj.io/, app.kubernetes.io/instance, kubectl.kubernetes.io/, helm.sh/, kustomize.toolkit.fluxcd.io/, connectedapps.dev/"
	Annotations map[string]AnnotationValue `json:"annotations,omitempty"`
}

// LabelValue is the value of a label.
// +kubebuilder:validation:MaxLength=63
type LabelValue string

// AnnotationValue is the value of an annotation.
// +kubebuilder:validation:MaxLength=4096
type AnnotationValue string

// GrantType is an OAuth 2.0 grant type by its name on the wire.
// +kubebuilder:validation:Enum=authorization_code;refresh_token;password;"urn:ietf:params:oauth:grant-type:jwt-bearer";client_credentials
type GrantType string

// Audience says whose users an app admits.
// +kubebuilder:validation:Enum=internal;everyone
type Audience string

// Audiences of an app.
const (
	// AudienceInternal admits users of the app's own organization.
	AudienceInternal Audience = "internal"
	// AudienceEveryone admits users of every organization.
	AudienceEveryone Audience = "everyone"
)
