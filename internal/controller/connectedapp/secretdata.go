// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/apply"
	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/plan"
)

// Values that say what a credentials Secret is
// (https://servicebinding.io/spec/core/1.1.0/#well-known-secret-entries).
const (
	bindingType            = "oauth2"
	bindingProvider        = "connectedapps"
	serviceBindingTypeName = "servicebinding.io/oauth2"
)

// wantedSecret is the app's Secret as it should be.
func wantedSecret(s *scope, secret clientSecret) apply.Secret {
	spec := s.secretSpec()
	var metadata *v1alpha1.SecretMetadata
	kind := corev1.SecretTypeOpaque
	if spec != nil {
		metadata = spec.Metadata
		if spec.Preset == v1alpha1.PresetServiceBinding {
			kind = serviceBindingTypeName
		}
	}
	own := map[string]string{v1alpha1.AnnotationClientID: s.app.Status.ClientID}
	if secret.value != "" {
		own[v1alpha1.AnnotationSecretID] = secret.id
		own[v1alpha1.AnnotationSecretHash] = hashSecret(s.app.Status.ClientID, secret.value)
	}
	data := map[string][]byte{}
	for name, value := range values(s, secret.value) {
		if value != "" {
			data[plan.SecretKey(spec, name)] = []byte(value)
		}
	}
	return apply.Secret{
		Name: s.app.CredentialsSecretName(), Type: kind, Data: data,
		Labels:      apply.Labels(metadata, map[string]string{v1alpha1.LabelConnectedApp: s.app.Name}),
		Annotations: apply.Annotations(metadata, own),
	}
}

func values(s *scope, secret string) map[string]string {
	metadata := s.connection.Discovery.Metadata
	method := s.want.Method()
	if !s.want.HasSecret() {
		secret = ""
	}
	return map[string]string{
		plan.KeyClientID: s.app.Status.ClientID, plan.KeyClientSecret: secret,
		plan.KeyIssuerURL: s.connection.Issuer, plan.KeyTokenURL: metadata.TokenEndpoint,
		plan.KeyInternalTokenURL: internalURL(s.connection, metadata.TokenEndpoint),
		plan.KeyAuthorizationURL: metadata.AuthorizationEndpoint, plan.KeyJWKSURL: metadata.JWKSURI,
		plan.KeyUserInfoURL: metadata.UserinfoEndpoint, plan.KeyIntrospectionURL: metadata.IntrospectionEndpoint,
		plan.KeyScopes: scopeNames(s), plan.KeyAuthMethod: method,
		plan.KeyType: bindingType, plan.KeyProvider: bindingProvider,
		plan.KeyCA: string(s.connection.CABundle),
	}
}

// internalURL is where in the cluster an endpoint is reached, or empty when that
// is no other address.
func internalURL(c *inventory.Connection, endpoint string) string {
	path, ok := strings.CutPrefix(endpoint, strings.TrimRight(c.URL, "/"))
	if c.InternalURL == "" || !ok {
		return ""
	}
	return strings.TrimRight(c.InternalURL, "/") + path
}

// scopeNames are the scopes of the spec that are allowed, as a token request
// writes them.
func scopeNames(s *scope) string {
	var names []string
	for _, assigned := range s.app.Spec.Scopes {
		wanted := plan.Scope{Name: assigned.Scope, OrganizationID: assigned.OrganizationID, EnvironmentID: assigned.EnvironmentID}
		// What is implied is not in the registration.
		implied := len(plan.NormalScopes(s.want, []plan.Scope{wanted})) == 0
		if (implied || slices.Contains(s.want.Scopes, wanted)) && !slices.Contains(names, wanted.Name) {
			names = append(names, wanted.Name)
		}
	}
	return strings.Join(names, " ")
}

// hashSecret lets an edit of the value be noticed. The value is random and long,
// so that a hash tells nothing about it.
func hashSecret(clientID, value string) string {
	sum := sha256.Sum256([]byte(clientID + "\x00" + value))
	return hex.EncodeToString(sum[:16])
}

// storedSecret finds the client secret in a Secret of ours, under whichever key
// it was written; nil when it is not there as it was written, or is another
// client's.
func storedSecret(secret *corev1.Secret, clientID string) *clientSecret {
	if secret == nil || clientID == "" || secret.Annotations[v1alpha1.AnnotationClientID] != clientID {
		return nil
	}
	id, hash := secret.Annotations[v1alpha1.AnnotationSecretID], secret.Annotations[v1alpha1.AnnotationSecretHash]
	if id == "" {
		return nil
	}
	for _, value := range secret.Data {
		if hashSecret(clientID, string(value)) == hash {
			return &clientSecret{id: id, value: string(value)}
		}
	}
	return nil
}
