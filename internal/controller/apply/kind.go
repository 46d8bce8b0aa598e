// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"maps"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Kind is what objects are on the API server. Here all of them have the form of a
// Secret.
type Kind int

// Kinds.
const (
	// KindSecret, the zero value, is for what not everybody may read.
	KindSecret Kind = iota
	// KindConfigMap is for what is no secret. It has no type.
	KindConfigMap
)

// String is what messages call it.
func (k Kind) String() string {
	if k == KindConfigMap {
		return "ConfigMap"
	}
	return "secret"
}

// Name is its name in the API.
func (k Kind) Name() string {
	if k == KindConfigMap {
		return "ConfigMap"
	}
	return "Secret"
}

// empty is an object to read into.
func (k Kind) empty() client.Object { return k.object(&corev1.Secret{}) }

// object is a Secret as the API server has it.
func (k Kind) object(secret *corev1.Secret) client.Object {
	if k != KindConfigMap {
		return secret
	}
	configMap := &corev1.ConfigMap{ObjectMeta: secret.ObjectMeta, Data: map[string]string{}, Immutable: secret.Immutable}
	for key, value := range secret.Data {
		if utf8.Valid(value) {
			configMap.Data[key] = string(value)
			continue
		}
		if configMap.BinaryData == nil {
			configMap.BinaryData = map[string][]byte{}
		}
		configMap.BinaryData[key] = value
	}
	return configMap
}

// secret is an object of the API server in the form of a Secret.
func (k Kind) secret(object client.Object) *corev1.Secret {
	configMap, ok := object.(*corev1.ConfigMap)
	if !ok {
		return object.(*corev1.Secret)
	}
	secret := &corev1.Secret{ObjectMeta: configMap.ObjectMeta, Immutable: configMap.Immutable, Data: make(map[string][]byte, len(configMap.Data))}
	// A Pod that mounts it cannot tell the two apart, which have no key in common.
	maps.Copy(secret.Data, configMap.BinaryData)
	for key, value := range configMap.Data {
		secret.Data[key] = []byte(value)
	}
	return secret
}

// configuration is what the manager applies to an object that exists.
func (k Kind) configuration(namespace string, uid types.UID, want Secret, owner *metav1ac.OwnerReferenceApplyConfiguration) runtime.ApplyConfiguration {
	if k == KindConfigMap {
		return corev1ac.ConfigMap(want.Name, namespace).
			WithUID(uid).WithData(texts(want.Data)).WithLabels(want.Labels).WithAnnotations(want.Annotations).WithOwnerReferences(owner)
	}
	return corev1ac.Secret(want.Name, namespace).
		WithUID(uid).WithType(want.Type).WithData(want.Data).WithLabels(want.Labels).WithAnnotations(want.Annotations).WithOwnerReferences(owner)
}

func texts(data map[string][]byte) map[string]string {
	list := make(map[string]string, len(data))
	for key, value := range data {
		list[key] = string(value)
	}
	return list
}
