// SPDX-License-Identifier: Apache-2.0

package secretcache

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"connectedapps.dev/operator/api/v1alpha1"
)

// longestName is the longest name of an object. In an owner reference, which
// nobody checks, a name may be as long as an object can be.
const longestName = 253

// TrimSecret leaves of a Secret's metadata what the controllers ask of it: its
// name and version, our labels, and who controls it. All else has no bound.
func TrimSecret(o any) (any, error) {
	if secret, ok := o.(*metav1.PartialObjectMetadata); ok {
		m := secret.ObjectMeta
		secret.ObjectMeta = identity(m)
		for _, name := range []string{v1alpha1.LabelSecret, v1alpha1.LabelConnectedApp, v1alpha1.LabelAccessToken} {
			if value, ok := m.Labels[name]; ok {
				metav1.SetMetaDataLabel(&secret.ObjectMeta, name, value)
			}
		}
		secret.OwnerReferences = controllerOf(&m)
	}
	return o, nil
}

// TrimConfigMap leaves a ConfigMap's name and version, and who controls it.
func TrimConfigMap(o any) (any, error) {
	if configMap, ok := o.(*metav1.PartialObjectMetadata); ok {
		m := configMap.ObjectMeta
		configMap.ObjectMeta = identity(m)
		configMap.OwnerReferences = controllerOf(&m)
	}
	return o, nil
}

func controllerOf(m *metav1.ObjectMeta) []metav1.OwnerReference {
	owner := metav1.GetControllerOfNoCopy(m)
	if owner == nil || slices.ContainsFunc(
		[]string{owner.APIVersion, owner.Kind, owner.Name, string(owner.UID)}, func(s string) bool { return len(s) > longestName }) {
		return nil
	}
	return []metav1.OwnerReference{*owner}
}

// TrimNamespace leaves a Namespace's name, version and labels, which access
// rules select by.
func TrimNamespace(o any) (any, error) {
	if namespace, ok := o.(*metav1.PartialObjectMetadata); ok {
		m := namespace.ObjectMeta
		namespace.ObjectMeta = identity(m)
		namespace.Labels = m.Labels
	}
	return o, nil
}

func identity(m metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion,
		CreationTimestamp: m.CreationTimestamp, DeletionTimestamp: m.DeletionTimestamp,
	}
}
