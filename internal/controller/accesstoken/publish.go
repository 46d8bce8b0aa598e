// SPDX-License-Identifier: Apache-2.0

package accesstoken

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/apply"
	"connectedapps.dev/operator/internal/refresher"
)

// publish makes the Secret hold the token and its labels, when it does not, and
// removes a Secret of an earlier name. An expired token is not written.
func (r *Reconciler) publish(ctx context.Context, p *pass, token *refresher.Held) error {
	if !token.Valid(p.now) {
		return nil
	}
	secret, _, err := r.Secrets.Apply(ctx, p.token, p.secret, wanted(p.token, token))
	if errors.Is(err, apply.ErrNotOurs) {
		return nameTaken(p.token)
	}
	if err != nil {
		return refused(err, "Secret "+p.token.SecretName())
	}
	p.replaced = p.secret != nil && digest(p.secret) != digest(secret)
	// From here on the token is as it is read back: with whole seconds.
	token.ExpiresAt, token.IssuedAt = token.ExpiresAt.Truncate(time.Second), token.IssuedAt.Truncate(time.Second)
	p.secret, p.held = secret, r.memory.anchored(p.name(), token, p.now)
	return r.removeFormer(ctx, p)
}

// wanted is the Secret for a token.
func wanted(owner *v1alpha1.AccessToken, token *refresher.Held) apply.Secret {
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
			v1alpha1.AnnotationIssuedFor:   token.Purpose,
			v1alpha1.AnnotationContentHash: contentHash(data),
		}),
		Data: data,
	}
}

// removeFormer deletes the Secret of the name before spec.secret.name changed,
// once the new one is there, which the status names from then on, and the refresh
// tokens of a former grant.
func (r *Reconciler) removeFormer(ctx context.Context, p *pass) error {
	if err := r.dropChain(ctx, p); err != nil {
		return err
	}
	binding := &v1alpha1.SecretBinding{Name: p.token.SecretName()}
	former := p.token.Status.Binding
	isChain := former != nil && former.Name == p.token.ChainSecretName() && p.token.GrantType() == v1alpha1.AccessTokenRefreshToken
	if former != nil && former.Name != binding.Name && !isChain {
		if err := r.remove(ctx, p.token, former.Name); err != nil {
			return err
		}
	}
	p.token.Status.Binding = binding
	return nil
}

// remove deletes a Secret that is ours, and leaves any other.
func (r *Reconciler) remove(ctx context.Context, token *v1alpha1.AccessToken, name string) error {
	secret, err := r.Secrets.GetLive(ctx, token, name)
	switch {
	case errors.Is(err, apply.ErrNotOurs), err == nil && secret == nil:
		return nil
	case err != nil:
		return unread(err, "Secret "+name)
	}
	return refused(r.Secrets.Delete(ctx, token, secret), "the former Secret "+name)
}
