// SPDX-License-Identifier: Apache-2.0

package secretcache

import (
	"bytes"
	"compress/flate"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// kept are Secrets as they were read last, never more than limit bytes of them
// beside the models.
type kept struct {
	limit, largest int

	mu      sync.Mutex
	bytes   int
	secrets map[client.ObjectKey]packed
	// models are Secrets that others with the same keys are written down by.
	models map[string]model
}

// model is the content of a Secret that others are like: what they have in common
// with it takes no room. It never changes; empty: they are like none.
type model []byte

const (
	// mostModels is how many there are: a few presets, and what some apps call their
	// keys. Secrets beyond are like none.
	mostModels = 16
	// largestModel bounds a model, which goes through the compressor each time.
	largestModel = 8 << 10
)

// packed is a Secret, compressed: thousands of them differ in little, and are
// looked at once in a resync.
type packed struct {
	uid     types.UID
	version string
	model   model
	content []byte
}

var (
	writers = sync.Pool{New: func() any {
		w, err := flate.NewWriter(io.Discard, flate.BestSpeed)
		if err != nil {
			panic(err) // the level is a constant
		}
		return w
	}}
	readers = sync.Pool{New: func() any { return flate.NewReader(bytes.NewReader(nil)) }}
)

// packing is held by who packs: a writer takes more than a megabyte, and after a
// start all workers would have one.
var packing sync.Mutex

func pack(secret *corev1.Secret, content []byte, like model) (packed, error) {
	packing.Lock()
	defer packing.Unlock()
	var compressed bytes.Buffer
	w := writers.Get().(*flate.Writer)
	defer writers.Put(w)
	w.Reset(&compressed)
	// The reader begins with the model: what is written of it is left out.
	if _, err := w.Write(like); err != nil {
		return packed{}, err
	}
	if err := w.Flush(); err != nil {
		return packed{}, err
	}
	begin := compressed.Len()
	if _, err := w.Write(content); err != nil {
		return packed{}, err
	}
	if err := w.Close(); err != nil {
		return packed{}, err
	}
	return packed{secret.UID, secret.ResourceVersion, like, bytes.Clone(compressed.Bytes()[begin:])}, nil
}

func (p packed) unpack(secret *corev1.Secret) error {
	r := readers.Get().(io.ReadCloser)
	defer readers.Put(r)
	if err := r.(flate.Resetter).Reset(bytes.NewReader(p.content), p.model); err != nil {
		return err
	}
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return secret.Unmarshal(content)
}

// modelOf is what a Secret is like; it becomes the model of those to come when there
// is none.
func (k *kept) modelOf(secret *corev1.Secret, content []byte) model {
	keys := strings.Join(slices.Sorted(maps.Keys(secret.Data)), " ")
	k.mu.Lock()
	defer k.mu.Unlock()
	like, ok := k.models[keys]
	if !ok && len(k.models) < mostModels && len(content) <= largestModel {
		if k.models == nil {
			k.models = map[string]model{}
		}
		k.models[keys] = content
	}
	return like
}

// get copies the Secret into secret when it is the version that was seen.
func (k *kept) get(key client.ObjectKey, seen *metav1.PartialObjectMetadata, secret *corev1.Secret) bool {
	k.mu.Lock()
	found, ok := k.secrets[key]
	k.mu.Unlock()
	if !ok || found.uid != seen.UID || found.version != seen.ResourceVersion {
		return false
	}
	return found.unpack(secret) == nil // otherwise it is read
}

func (k *kept) put(key client.ObjectKey, secret *corev1.Secret) {
	var made packed
	content, err := secret.Marshal()
	if err == nil {
		made, err = pack(secret, content, k.modelOf(secret, content))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.remove(key)
	size := len(made.content)
	if err != nil || size > k.largest {
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
		k.secrets = map[client.ObjectKey]packed{}
	}
	k.secrets[key] = made
	k.bytes += size
}

func (k *kept) drop(key client.ObjectKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.remove(key)
}

func (k *kept) remove(key client.ObjectKey) {
	if secret, ok := k.secrets[key]; ok {
		k.bytes -= len(secret.content)
		delete(k.secrets, key)
	}
}
