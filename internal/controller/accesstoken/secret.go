// SPDX-License-Identifier: Apache-2.0

package accesstoken

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/apply"
	"connectedapps.dev/operator/internal/controller/object"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/refresher"
)

// readSecret sets secret and held. The status, which is never behind what we
// wrote, tells when the cache is.
func (r *Reconciler) readSecret(ctx context.Context, p *pass) error {
	secret, err := r.Secrets.Get(ctx, p.token, p.token.SecretName())
	if err := r.see(p, secret, err); err != nil {
		return err
	}
	issued := p.token.Status.IssuedAt
	if issued != nil && (p.held == nil || p.held.IssuedAt.Round(0).Before(issued.Time)) {
		return r.readSecretLive(ctx, p)
	}
	return nil
}

// readSecretLive does so without the cache.
func (r *Reconciler) readSecretLive(ctx context.Context, p *pass) error {
	secret, err := r.Secrets.GetLive(ctx, p.token, p.token.SecretName())
	return r.see(p, secret, err)
}

func (r *Reconciler) see(p *pass, secret *corev1.Secret, err error) error {
	p.secret, p.held, p.looked = nil, nil, true
	switch {
	case errors.Is(err, apply.ErrNotOurs):
		return nameTaken(p.token)
	case err != nil:
		p.looked = false
		return unread(err, "Secret "+p.token.SecretName())
	}
	p.secret, p.held = secret, r.memory.anchored(p.name(), parse(secret), p.now)
	if p.held != nil {
		p.held.Doubted = p.doubted
	}
	return nil
}

func nameTaken(token *v1alpha1.AccessToken) *status.Error {
	e := status.StalledError(v1alpha1.ReasonSecretNameTaken,
		"there is a Secret %s that this AccessToken did not make; it was left as it is: delete it or choose another spec.secret.name", token.SecretName())
	e.After = unwatchedPause
	return e
}

// unread is a read that failed. What the API server said goes into the log.
func unread(err error, what string) error {
	return status.TransientError(v1alpha1.ReasonWriteFailed, err, "reading %s failed, trying again", what)
}

// refused is a write that failed.
func refused(err error, what string) error {
	err = object.WriteError(what, err)
	if _, ok := errors.AsType[*status.Error](err); ok || err == nil {
		return err
	}
	return status.TransientError(v1alpha1.ReasonWriteFailed, err, "writing %s failed, trying again", what)
}

// parse returns the token in a Secret of ours, nil when there is none or
// somebody changed it.
func parse(secret *corev1.Secret) *refresher.Held {
	if secret == nil || secret.Annotations[v1alpha1.AnnotationContentHash] != contentHash(secret.Data) {
		return nil
	}
	token, err := refresher.ParseFiles(secret.Data)
	if err != nil {
		return nil
	}
	issued, err := time.Parse(time.RFC3339, secret.Annotations[v1alpha1.AnnotationIssuedAt])
	if err != nil || !issued.Before(token.ExpiresAt) {
		return nil
	}
	token.IssuedAt = issued
	return &refresher.Held{Token: token, Purpose: secret.Annotations[v1alpha1.AnnotationIssuedFor]}
}

// tokenKeys are the keys a token has in its Secret.
var tokenKeys = []string{
	refresher.KeyAccessToken, refresher.KeyTokenType, refresher.KeyExpiresAt, refresher.KeyTokenJSON, refresher.KeyIDToken,
}

// contentHash covers the keys a token has, not those that others add.
func contentHash(data map[string][]byte) string {
	h := sha256.New()
	for _, key := range tokenKeys {
		sum := sha256.Sum256(data[key])
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}
