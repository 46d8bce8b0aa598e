// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/apply"
	"connectedapps.dev/operator/internal/plan"
)

// Values that say what a credentials Secret is
// (https://servicebinding.io/spec/core/1.1.0/#well-known-secret-entries).
const (
	bindingType            = "oauth2"
	bindingProvider        = "connectedapps"
	serviceBindingTypeName = "servicebinding.io/oauth2"
)

// wantedSecret is the Secret that the manager writes for a client like this: with
// the client secret that was made in this pass, or else the one it holds. For type
// ServiceAccount it is a ConfigMap, which never holds one, whatever the client is
// like.
func wantedSecret(p *pass, target plan.Client) apply.Secret {
	spec := p.secretSpec()
	var metadata *v1alpha1.SecretMetadata
	kind := corev1.SecretTypeOpaque
	if spec != nil {
		metadata = spec.Metadata
		if spec.Preset == v1alpha1.PresetServiceBinding {
			kind = serviceBindingTypeName
		}
	}
	clientID := p.clientID()
	own := map[string]string{v1alpha1.AnnotationClientID: clientID}
	secret := p.made
	if secret == nil {
		secret = p.stored()
	}
	if secret == nil || !target.HasSecret() || p.app.CredentialsType() != v1alpha1.CredentialsSecret {
		secret = &clientSecret{}
	}
	if secret.value != "" {
		own[v1alpha1.AnnotationSecretID] = secret.id
		own[v1alpha1.AnnotationSecretHash] = hashSecret(clientID, secret.value)
	}
	data, published := map[string][]byte{}, values(p, target, clientID, secret.value)
	for name, value := range published {
		if value != "" {
			data[plan.SecretKey(spec, name)] = []byte(value)
		}
	}
	want := apply.Secret{
		Name: p.in.Secret.Name, Type: kind, Data: data,
		Labels:      apply.Labels(metadata, map[string]string{v1alpha1.LabelConnectedApp: p.app.Name}),
		Annotations: apply.Annotations(metadata, own),
		Forbids: func(key string, value []byte) bool {
			name := plan.DecisiveName(spec, key)
			return name != "" && published[name] != string(value)
		},
	}
	if p.published() == apply.KindConfigMap {
		want.Type = ""
		delete(want.Labels, v1alpha1.LabelSecret)
	}
	return want
}

// contester is the field manager that changed what we wrote into the Secret, or
// added what readers take for it; empty: nobody.
func (r *Reconciler) contester(p *pass) string {
	var keys []string
	for _, name := range []string{
		plan.KeyClientID, plan.KeyClientSecret, plan.KeyIssuerURL, plan.KeyTokenURL, plan.KeyInternalTokenURL, plan.KeyAuthorizationURL,
		plan.KeyJWKSURL, plan.KeyUserInfoURL, plan.KeyIntrospectionURL, plan.KeyScopes, plan.KeyAuthMethod, plan.KeyType, plan.KeyProvider, plan.KeyCA,
	} {
		keys = append(keys, plan.SecretKey(p.secretSpec(), name))
	}
	// What is called as another preset has it counts when it says something else.
	for key, value := range p.secret.Data {
		name := plan.DecisiveName(p.secretSpec(), key)
		if name != "" && !bytes.Equal(value, p.secret.Data[plan.SecretKey(p.secretSpec(), name)]) {
			keys = append(keys, key)
		}
	}
	objects := r.objectsOf(p.published())
	if who := objects.Contester(p.secret, keys); who != "" {
		return who
	}
	if p.secret.Annotations[v1alpha1.AnnotationSecretHash] != "" && p.stored() == nil && p.secret.Annotations[v1alpha1.AnnotationClientID] == p.clientID() {
		return apply.LastWriter(p.secret, objects.FieldManager)
	}
	return ""
}

func values(p *pass, target plan.Client, clientID, secret string) map[string]string {
	metadata := p.connection.Discovery.Metadata
	return map[string]string{
		plan.KeyClientID: clientID, plan.KeyClientSecret: secret,
		plan.KeyIssuerURL: p.connection.Issuer, plan.KeyTokenURL: metadata.TokenEndpoint,
		plan.KeyInternalTokenURL: p.connection.Internal(metadata.TokenEndpoint),
		plan.KeyAuthorizationURL: metadata.AuthorizationEndpoint, plan.KeyJWKSURL: metadata.JWKSURI,
		plan.KeyUserInfoURL: metadata.UserinfoEndpoint, plan.KeyIntrospectionURL: metadata.IntrospectionEndpoint,
		plan.KeyScopes: strings.Join(plan.TokenScopes(p.app, target), " "), plan.KeyAuthMethod: target.Method(),
		plan.KeyType: bindingType, plan.KeyProvider: bindingProvider,
		plan.KeyCA: string(p.connection.CABundle),
	}
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
