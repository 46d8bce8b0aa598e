// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"connectedapps.dev/operator/api/v1alpha1"
)

const (
	fieldManager = "connectedapps-bootstrap"
	// labelManagedBy tells what was made here from what somebody brought.
	labelManagedBy = "app.kubernetes.io/managed-by"
	managedBy      = "connectedapps-manager"
)

func labels(more map[string]string) map[string]string {
	l := map[string]string{
		labelManagedBy:                managedBy,
		"app.kubernetes.io/name":      "connectedapps",
		"app.kubernetes.io/component": "tokenserver",
	}
	maps.Copy(l, more)
	return l
}

// ours tells whether an object was made here and may be changed.
func ours(o client.Object) bool { return o.GetLabels()[labelManagedBy] == managedBy }

// ensureAdmin makes the administrator's credentials when there are none. They
// carry the label by which the manager's cache sees them, so that a TokenServer
// notices at once when they change.
func (r *Runnable) ensureAdmin(ctx context.Context) error {
	return r.createSecret(ctx, AdminSecret, corev1.SecretTypeOpaque, map[string]string{v1alpha1.LabelSecret: v1alpha1.SecretManaged},
		func() map[string][]byte {
			return map[string][]byte{"client-id": []byte(AdminClientID), "client-secret": []byte(newClientSecret())}
		})
}

// ensureKeys makes the key that the token server encrypts its database with. It
// is never replaced: the database could not be read again.
func (r *Runnable) ensureKeys(ctx context.Context) error {
	return r.createSecret(ctx, KeysSecret, corev1.SecretTypeOpaque, nil, func() map[string][]byte {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails
		return map[string][]byte{"encryption-key": []byte(base64.StdEncoding.EncodeToString(key))}
	})
}

// createSecret creates the Secret when there is none, and leaves any other
// alone: a name that was taken in the meantime is no error.
func (r *Runnable) createSecret(ctx context.Context, name string, kind corev1.SecretType, more map[string]string, data func() map[string][]byte) error {
	live, err := r.secret(ctx, name)
	if err != nil || live != nil {
		return err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: name, Labels: labels(more)},
		Type:       kind,
		Data:       data(),
	}
	return r.create(ctx, secret)
}

func (r *Runnable) create(ctx context.Context, o client.Object) error {
	err := r.Client.Create(ctx, o, client.FieldOwner(fieldManager))
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("creating %s: %w", o.GetName(), err)
	}
	log.FromContext(ctx).Info("created", "kind", kindOf(o), "name", o.GetName())
	return nil
}

func kindOf(o client.Object) string {
	if _, ok := o.(*corev1.ConfigMap); ok {
		return "ConfigMap"
	}
	return "Secret"
}

// secret returns a Secret as the API server has it, nil when there is none.
func (r *Runnable) secret(ctx context.Context, name string) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading Secret %s: %w", name, err)
	}
	return secret, nil
}

// newClientSecret returns a secret of the form the token server makes: cas_ and
// 43 letters and digits, 256 bits.
func newClientSecret() string {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	secret := []byte("cas_")
	random := make([]byte, 64)
	for len(secret) < len("cas_")+43 {
		_, _ = rand.Read(random) // never fails
		for _, b := range random {
			// 248 is the largest multiple of 62 in a byte: no letter is likelier.
			if b < 248 && len(secret) < len("cas_")+43 {
				secret = append(secret, alphabet[b%62])
			}
		}
	}
	return string(secret)
}
