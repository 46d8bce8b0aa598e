// SPDX-License-Identifier: Apache-2.0

package accesstoken

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/apply"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/refresher"
)

// nameTakenPause is when to look again whether somebody else's Secret is gone:
// it need not carry our label, so that no watch tells.
const nameTakenPause = 30 * time.Second

// readSecret sets secret and held.
func (r *Reconciler) readSecret(ctx context.Context, s *scope) error {
	secret, err := r.Secrets.Get(ctx, s.token, s.token.SecretName())
	if err != nil {
		return r.secretProblem(s, err)
	}
	s.secret, s.held = secret, parse(secret)
	return nil
}

// readSecretLive does so without the cache.
func (r *Reconciler) readSecretLive(ctx context.Context, s *scope) error {
	secret := &corev1.Secret{}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: s.token.Namespace, Name: s.token.SecretName()}, secret)
	switch {
	case apierrors.IsNotFound(err):
		s.secret, s.held = nil, nil
		return nil
	case err != nil:
		return r.secretProblem(s, err)
	case !apply.Owned(secret, s.token):
		return r.secretProblem(s, apply.ErrNotOurs)
	}
	s.secret, s.held = secret, parse(secret)
	return nil
}

func (r *Reconciler) secretProblem(s *scope, err error) error {
	name := s.token.SecretName()
	if errors.Is(err, apply.ErrNotOurs) {
		s.retry = nameTakenPause
		return status.StalledError(v1alpha1.ReasonSecretNameTaken,
			"there is a Secret %s that this AccessToken did not make; it was left as it is: delete it or choose another spec.secret.name", name)
	}
	return status.TransientError(v1alpha1.ReasonWriteFailed, err, "reading or writing Secret %s failed, trying again", name)
}

// parse returns the token in a Secret of ours, nil when there is none or
// somebody changed it.
func parse(secret *corev1.Secret) *held {
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
	return &held{Token: token, issuedFor: secret.Annotations[v1alpha1.AnnotationIssuedFor]}
}

// contentHash covers the keys a token has, not those that others add.
func contentHash(data map[string][]byte) string {
	h := sha256.New()
	for _, key := range []string{
		refresher.KeyAccessToken, refresher.KeyTokenType, refresher.KeyExpiresAt, refresher.KeyTokenJSON, refresher.KeyIDToken,
	} {
		sum := sha256.Sum256(data[key])
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// readApp sets app and credentials, or says what is not there yet. The first
// token waits for the app to be ready; later ones need the credentials only, so
// that an app at work on a change, or whose server is away, keeps its token.
func (r *Reconciler) readApp(ctx context.Context, s *scope) error {
	app := &v1alpha1.ConnectedApp{}
	name := s.token.Spec.ConnectedAppRef.Name
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: s.token.Namespace, Name: name}, app)
	if apierrors.IsNotFound(err) {
		return status.WaitingError(v1alpha1.ReasonAppNotFound, 0, "there is no ConnectedApp %s", name)
	}
	if err != nil {
		return status.TransientError(v1alpha1.ReasonWriteFailed, err, "reading ConnectedApp %s failed, trying again", name)
	}
	if !slices.Contains(app.Spec.GrantTypes, v1alpha1.GrantType(oauth.GrantClientCredentials)) {
		return status.StalledError(v1alpha1.ReasonGrantNotAllowed,
			"ConnectedApp %s does not have the grant type client_credentials, which this AccessToken needs", name)
	}
	s.app = app
	first := s.token.Status.Binding == nil
	if !app.DeletionTimestamp.IsZero() || first && !s.appReady() {
		return status.WaitingError(v1alpha1.ReasonAppNotReady, 0, "ConnectedApp %s is not ready", name)
	}
	return r.readCredentials(ctx, s)
}

func (r *Reconciler) readCredentials(ctx context.Context, s *scope) error {
	name := s.app.CredentialsSecretName()
	secret := &corev1.Secret{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: s.app.Namespace, Name: name}, secret)
	switch {
	case apierrors.IsNotFound(err), err == nil && !mayRead(secret, s.app):
		// The cache may be a moment behind the app's status.
		return status.WaitingError(v1alpha1.ReasonAppNotReady, time.Second,
			"the Secret %s with the credentials of ConnectedApp %s is not there yet", name, s.app.Name)
	case err != nil:
		return status.TransientError(v1alpha1.ReasonWriteFailed, err, "reading Secret %s failed, trying again", name)
	}
	s.credentials = secret
	return nil
}

// mayRead tells whether the Secret is the one of the app: made by its
// controller, or somebody's who opted it in.
func mayRead(secret *corev1.Secret, app *v1alpha1.ConnectedApp) bool {
	if app.CredentialsType() == v1alpha1.CredentialsExistingSecret {
		return secret.Labels[v1alpha1.LabelSecret] == v1alpha1.SecretReferenced
	}
	return apply.Owned(secret, app)
}
