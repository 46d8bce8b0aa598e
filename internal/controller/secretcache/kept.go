// SPDX-License-Identifier: Apache-2.0

package secretcache

import (
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// kept are Secrets as they were read last, never more than limit bytes of them.
type kept struct {
	limit, largest int

	mu    sync.Mutex
	bytes int
	// secrets are never changed, only replaced.
	secrets map[client.ObjectKey]*corev1.Secret
}

// get copies the Secret into secret when it is the version that was seen.
func (k *kept) get(key client.ObjectKey, seen *metav1.PartialObjectMetadata, secret *corev1.Secret) bool {
	k.mu.Lock()
	found := k.secrets[key]
	k.mu.Unlock()
	if found == nil || found.UID != seen.UID || found.ResourceVersion != seen.ResourceVersion {
		return false
	}
	found.DeepCopyInto(secret)
	return true
}

func (k *kept) put(key client.ObjectKey, secret *corev1.Secret) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.remove(key)
	size := secret.Size()
	if size > k.largest {
		return
	}
	// Any will do: a resync comes by all of them in turn, so that the one that
	// was used longest ago would be the next to be asked for.
	for other := range k.secrets {
		if k.bytes+size <= k.limit {
			break
		}
		k.remove(other)
	}
	if k.secrets == nil {
		k.secrets = map[client.ObjectKey]*corev1.Secret{}
	}
	k.secrets[key] = secret.DeepCopy()
	k.bytes += size
}

func (k *kept) drop(key client.ObjectKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.remove(key)
}

func (k *kept) remove(key client.ObjectKey) {
	if secret, ok := k.secrets[key]; ok {
		k.bytes -= secret.Size()
		delete(k.secrets, key)
	}
}
