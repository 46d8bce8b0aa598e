// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/apply"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/plan"
)

// references reads what the spec names: keys, and the Secret.
type references struct {
	live    client.Reader
	secrets *apply.Secrets
}

func (p references) reconcile(ctx context.Context, s *scope) error {
	keys, err := p.publicKeys(ctx, s.app)
	if err != nil {
		return notRegistered(s, err)
	}
	s.want = s.verdict.Client
	s.want.PublicKeys = keys
	if s.app.CredentialsType() == v1alpha1.CredentialsExistingSecret {
		s.existing, err = p.existingSecret(ctx, s)
		return notPublished(s, err)
	}
	s.secret, err = p.secrets.Get(ctx, s.app, s.app.CredentialsSecretName())
	if errors.Is(err, apply.ErrNotOurs) {
		return notPublished(s, nameTaken(s.app))
	}
	if err != nil {
		return err
	}
	s.stored = storedSecret(s.secret, s.app.Status.ClientID)
	return nil
}

func nameTaken(app *v1alpha1.ConnectedApp) *status.Error {
	e := status.StalledError(v1alpha1.ReasonSecretNameTaken,
		"secret %s exists and was not made for this ConnectedApp; it was left as it is: name another in spec.credentials.secret.name, or remove it",
		app.CredentialsSecretName())
	e.After = recheck // a Secret without our label is not watched
	return e
}

// publicKeys returns the keys in the spec's order.
func (p references) publicKeys(ctx context.Context, app *v1alpha1.ConnectedApp) ([]string, error) {
	var keys []string
	for i, key := range app.Spec.PublicKeys {
		pem := key.PEM
		if key.ConfigMapRef != nil {
			var err error
			if pem, err = p.configMapKey(ctx, app.Namespace, *key.ConfigMapRef); err != nil {
				return nil, err
			}
		}
		if err := checkPublicKey(pem); err != nil {
			return nil, status.StalledError(v1alpha1.ReasonInvalidPublicKey, "spec.publicKeys[%d] %v", i, err)
		}
		keys = append(keys, pem)
	}
	return keys, nil
}

func (p references) configMapKey(ctx context.Context, namespace string, ref v1alpha1.ConfigMapKeyReference) (string, error) {
	configMap := &corev1.ConfigMap{}
	err := p.live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: ref.Name}, configMap)
	if apierrors.IsNotFound(err) {
		return "", status.WaitingError(v1alpha1.ReasonConfigMapNotFound, recheck, "there is no ConfigMap %s", ref.Name)
	}
	if err != nil {
		return "", fmt.Errorf("reading ConfigMap %s: %w", ref.Name, err)
	}
	value, ok := configMap.Data[ref.Key]
	if !ok {
		return "", status.WaitingError(v1alpha1.ReasonConfigMapNotFound, recheck, "ConfigMap %s has no key %s", ref.Name, ref.Key)
	}
	return value, nil
}

// existingSecret reads the client secret that somebody else provides, when its
// owner lets us: a Secret that is merely named must not leave its namespace.
func (p references) existingSecret(ctx context.Context, s *scope) (*existingSecret, error) {
	name := s.app.CredentialsSecretName()
	secret := &corev1.Secret{}
	err := p.live.Get(ctx, client.ObjectKey{Namespace: s.app.Namespace, Name: name}, secret)
	switch {
	case apierrors.IsNotFound(err):
		return nil, status.WaitingError(v1alpha1.ReasonWaitingForSecret, recheck, "waiting for secret %s", name)
	case err != nil:
		return nil, fmt.Errorf("reading secret %s: %w", name, err)
	case secret.Labels[v1alpha1.LabelSecret] != v1alpha1.SecretReferenced:
		return nil, status.WaitingError(v1alpha1.ReasonSecretNotShared, recheck,
			"secret %s does not have the label %s: %s, by which its owner lets it be read", name, v1alpha1.LabelSecret, v1alpha1.SecretReferenced)
	}
	key := plan.SecretKey(s.secretSpec(), plan.KeyClientSecret)
	value := string(secret.Data[key])
	if value == "" {
		return nil, status.WaitingError(v1alpha1.ReasonWaitingForSecret, 5*time.Minute, "waiting for key %s of secret %s", key, name)
	}
	if err := checkClientSecret(value); err != nil {
		return nil, status.StalledError(v1alpha1.ReasonInvalidSecret, "key %s of secret %s %v", key, name, err)
	}
	return &existingSecret{
		value: value, clientID: string(secret.Data[plan.SecretKey(s.secretSpec(), plan.KeyClientID)]),
		version: string(secret.UID) + "/" + secret.ResourceVersion,
	}, nil
}

// notRegistered and notPublished set a phase's condition when it failed.
func notRegistered(s *scope, err error) error {
	return failed(s, v1alpha1.ConditionRegistered, err)
}

func notPublished(s *scope, err error) error {
	return failed(s, v1alpha1.ConditionSecretPublished, err)
}

func failed(s *scope, condition string, err error) error {
	untouched := s.wasReady && s.intact() && isServerTrouble(err)
	if e, ok := errors.AsType[*status.Error](err); ok && !untouched {
		status.False(s.app, condition, e.Reason, e.Message)
	}
	return err
}
