// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"context"
	"crypto/rand"

	corev1 "k8s.io/api/core/v1"

	"connectedapps.dev/operator/api/v1alpha1"
)

const (
	keyClientID     = "client-id"
	keyClientSecret = "client-secret"
)

// ensureAdmin makes the administrator's credentials when there are none, or the
// key of them that is missing; the token server takes over what it reads. Values
// that are there stay: they may be changed by hand. The credentials carry the
// label by which the manager's cache sees them, so that a TokenServer notices at
// once when they change.
func (r *Runnable) ensureAdmin(ctx context.Context) error {
	label := map[string]string{v1alpha1.LabelSecret: v1alpha1.SecretManaged}
	live, err := r.secret(ctx, AdminSecret)
	if err != nil {
		return err
	}
	if live == nil {
		return r.create(ctx, r.newSecret(AdminSecret, corev1.SecretTypeOpaque, label, adminCredentials(nil)))
	}
	if !ours(live, keyClientID) && !ours(live, keyClientSecret) {
		for _, key := range []string{keyClientID, keyClientSecret} {
			if len(live.Data[key]) == 0 {
				return problemf(eventNotOurs, live, "Secret %s in namespace %s has no key %s, and somebody else made it: "+
					"add the key, or delete the Secret and the manager makes its own", AdminSecret, r.Namespace, key)
			}
		}
		return nil
	}
	changed := live.DeepCopy()
	setLabels(changed, label)
	changed.Data = adminCredentials(live.Data)
	return r.update(ctx, live, changed, eventRestored)
}

// adminCredentials is data with what it lacks.
func adminCredentials(data map[string][]byte) map[string][]byte {
	full := map[string][]byte{keyClientID: []byte(AdminClientID), keyClientSecret: []byte(newClientSecret())}
	for key, value := range data {
		if len(value) > 0 {
			full[key] = value
		}
	}
	return full
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
