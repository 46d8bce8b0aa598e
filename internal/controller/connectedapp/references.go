// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/apply"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/plan"
)

// observeReferences reads what the spec names.
func (r *Reconciler) observeReferences(ctx context.Context, p *pass) error {
	keys, err := r.publicKeys(ctx, p.app)
	if e, ok := errors.AsType[*status.Error](err); ok {
		p.in.Hindrance = holdOf(v1alpha1.ConditionRegistered, e)
	} else if err != nil {
		return err
	}
	p.in.Keys = keys
	if !p.isExisting() {
		return nil
	}
	err = r.readExisting(ctx, p)
	if e, ok := errors.AsType[*status.Error](err); ok {
		p.in.SecretHindrance = holdOf(v1alpha1.ConditionSecretPublished, e)
		return nil
	}
	return err
}

// nameTaken says whose Secret, or ConfigMap, has the name that the app's is to have.
func (r *Reconciler) nameTaken(ctx context.Context, p *pass) error {
	secret, err := r.metadata(ctx, p.published(), p.app.Namespace, p.in.Secret.Name)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading %s: %w", p.in.Secret, err)
	}
	whose := "was not made for this ConnectedApp"
	owner := metav1.GetControllerOf(secret)
	switch {
	case owner != nil && owner.Kind == "ConnectedApp" && owner.Name == p.app.Name:
		whose = "was made for an earlier ConnectedApp of this name"
	case owner != nil:
		whose = "was made for " + owner.Kind + " " + owner.Name
	case secret.Annotations[v1alpha1.AnnotationClientID] != "":
		whose = "is of client " + secret.Annotations[v1alpha1.AnnotationClientID] +
			", which a ConnectedApp with deletionPolicy Orphan left behind"
	}
	e := status.StalledError(v1alpha1.ReasonSecretNameTaken,
		"%s exists and %s; it was left as it is: name another in spec.credentials.secret.name, or remove it", p.in.Secret, whose)
	e.After = recheck // a Secret without our label is not watched
	p.in.SecretHindrance = holdOf(v1alpha1.ConditionSecretPublished, e)
	p.in.Secret.Yields, err = r.waitsForUs(ctx, p.app, owner)
	return err
}

func (r *Reconciler) metadata(ctx context.Context, kind apply.Kind, namespace, name string) (*metav1.PartialObjectMetadata, error) {
	found := &metav1.PartialObjectMetadata{}
	found.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind.Name()))
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, found)
	return found, err
}

// longestCircle bounds how many apps are followed that want one another's names.
const longestCircle = 10

// waitsForUs tells whether the app that owns the Secret of the wanted name wants
// in its turn, by way of others perhaps, the name that this app's Secret has:
// then somebody has to give way first. ConfigMaps likewise, and among Secrets.
func (r *Reconciler) waitsForUs(ctx context.Context, app *v1alpha1.ConnectedApp, owner *metav1.OwnerReference) (bool, error) {
	kind := publishedKind(app) // of what owner has
	for range longestCircle {
		if owner == nil || owner.Kind != "ConnectedApp" {
			return false, nil
		}
		other := &v1alpha1.ConnectedApp{}
		err := r.Client.Get(ctx, client.ObjectKey{Namespace: app.Namespace, Name: owner.Name}, other)
		if err != nil || other.UID != owner.UID {
			return false, client.IgnoreNotFound(err)
		}
		has := publishedName(other, kind)
		if has == "" || kind == publishedKind(other) && has == other.PublishedSecretName() {
			return false, nil // it keeps what it has
		}
		kind = publishedKind(other)
		secret, err := r.metadata(ctx, kind, app.Namespace, other.PublishedSecretName())
		if err != nil {
			return false, client.IgnoreNotFound(err)
		}
		if apply.Owned(secret, app) {
			return true, nil
		}
		owner = metav1.GetControllerOf(secret)
	}
	return false, nil
}

// publicKeys returns the keys in the spec's order.
func (r *Reconciler) publicKeys(ctx context.Context, app *v1alpha1.ConnectedApp) ([]string, error) {
	var keys []string
	for i, key := range app.Spec.PublicKeys {
		pem := key.PEM
		if key.ConfigMapRef != nil {
			var err error
			if pem, err = r.configMapKey(ctx, app.Namespace, *key.ConfigMapRef); err != nil {
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

func (r *Reconciler) configMapKey(ctx context.Context, namespace string, ref v1alpha1.ConfigMapKeyReference) (string, error) {
	configMap := &corev1.ConfigMap{}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: ref.Name}, configMap)
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

// readExisting reads the client secret that somebody else provides, when its
// owner lets us: a Secret that is merely named must not leave its namespace.
func (r *Reconciler) readExisting(ctx context.Context, p *pass) error {
	name := p.app.CredentialsSecretName()
	secret := &corev1.Secret{}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: p.app.Namespace, Name: name}, secret)
	switch {
	case apierrors.IsNotFound(err):
		return status.WaitingError(v1alpha1.ReasonWaitingForSecret, recheck, "waiting for secret %s", name)
	case err != nil:
		return fmt.Errorf("reading secret %s: %w", name, err)
	case secret.Labels[v1alpha1.LabelSecret] != v1alpha1.SecretReferenced:
		return status.WaitingError(v1alpha1.ReasonSecretNotShared, recheck,
			"secret %s does not have the label %s: %s, by which its owner lets it be read", name, v1alpha1.LabelSecret, v1alpha1.SecretReferenced)
	}
	key := plan.SecretKey(p.secretSpec(), plan.KeyClientSecret)
	value := string(secret.Data[key])
	if value == "" {
		return status.WaitingError(v1alpha1.ReasonWaitingForSecret, 5*time.Minute, "waiting for key %s of secret %s", key, name)
	}
	if err := checkClientSecret(value); err != nil {
		return status.StalledError(v1alpha1.ReasonInvalidSecret, "key %s of secret %s %v", key, name, err)
	}
	p.existing = value
	p.in.Existing = &plan.ExistingSecret{
		Name: name, ClientID: string(secret.Data[plan.SecretKey(p.secretSpec(), plan.KeyClientID)]),
		Version: string(secret.UID) + "/" + secret.ResourceVersion,
	}
	return nil
}
