// SPDX-License-Identifier: Apache-2.0

package accesstoken

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/apply"
	"connectedapps.dev/operator/internal/refresher"
)

// publish makes the Secret hold the token and its labels, when it does not, and
// removes a Secret of an earlier name. An expired token is not written.
func (r *Reconciler) publish(ctx context.Context, s *scope, token *held) error {
	if !publishable(token, s.now) {
		return nil
	}
	secret, _, err := r.Secrets.Apply(ctx, s.token, s.secret, wanted(s.token, token))
	if err != nil {
		return r.secretProblem(s, err)
	}
	s.secret, s.held = secret, token
	// From here on the token is as it is read back: with whole seconds.
	token.ExpiresAt, token.IssuedAt = token.ExpiresAt.Truncate(time.Second), token.IssuedAt.Truncate(time.Second)
	return r.removeFormer(ctx, s)
}

func publishable(token *held, now time.Time) bool { return token != nil && token.Validate(now) == nil }

// wanted is the Secret for a token.
func wanted(owner *v1alpha1.AccessToken, token *held) apply.Secret {
	var metadata *v1alpha1.SecretMetadata
	if owner.Spec.Secret != nil {
		metadata = owner.Spec.Secret.Metadata
	}
	data := refresher.Files(token.Token)
	return apply.Secret{
		Name:   owner.SecretName(),
		Type:   corev1.SecretTypeOpaque,
		Labels: apply.Labels(metadata, map[string]string{v1alpha1.LabelAccessToken: owner.Name}),
		Annotations: apply.Annotations(metadata, map[string]string{
			v1alpha1.AnnotationIssuedAt:    token.IssuedAt.UTC().Format(time.RFC3339),
			v1alpha1.AnnotationIssuedFor:   token.issuedFor,
			v1alpha1.AnnotationContentHash: contentHash(data),
		}),
		Data: data,
	}
}

// removeFormer deletes the Secret of the name before spec.secret.name changed,
// once the new one is there.
func (r *Reconciler) removeFormer(ctx context.Context, s *scope) error {
	binding := s.token.Status.Binding
	if binding == nil || binding.Name == s.token.SecretName() {
		return nil
	}
	former, err := r.Secrets.Get(ctx, s.token, binding.Name)
	if err != nil || former == nil {
		return nil //nolint:nilerr // somebody else's by now: not ours to delete
	}
	if err := r.Secrets.Delete(ctx, s.token, former); err != nil {
		return r.secretProblem(s, err)
	}
	return nil
}
