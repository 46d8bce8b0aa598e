// SPDX-License-Identifier: Apache-2.0

package secretcache

import (
	"slices"
	"unique"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"connectedapps.dev/operator/api/v1alpha1"
)

// longestName is the longest name of an object. In an owner reference, which
// nobody checks, a name may be as long as an object can be.
const longestName = 253

// labels are those of Secrets in the cache, one map for all that have the same.
var labels = map[string]map[string]string{
	v1alpha1.SecretManaged:    {v1alpha1.LabelSecret: v1alpha1.SecretManaged},
	v1alpha1.SecretReferenced: {v1alpha1.LabelSecret: v1alpha1.SecretReferenced},
}

// isController is what every owner reference in the cache points to.
var isController = true

// TrimSecret leaves of a Secret's metadata what the controllers ask of it: its
// name and version, what it is to us, and who controls it. All else has no bound.
// What many Secrets say takes the memory of one.
func TrimSecret(o any) (any, error) {
	if secret, ok := o.(*metav1.PartialObjectMetadata); ok {
		m := secret.ObjectMeta
		secret.APIVersion, secret.Kind = shared(secret.APIVersion), shared(secret.Kind)
		secret.ObjectMeta = identity(m)
		secret.Labels = labels[m.Labels[v1alpha1.LabelSecret]]
		secret.OwnerReferences = controllerOf(&m)
	}
	return o, nil
}

func shared(text string) string { return unique.Make(text).Value() }

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
	return []metav1.OwnerReference{{
		APIVersion: shared(owner.APIVersion), Kind: shared(owner.Kind), Name: owner.Name, UID: owner.UID, Controller: &isController,
	}}
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
		Namespace: shared(m.Namespace), Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion,
		CreationTimestamp: m.CreationTimestamp, DeletionTimestamp: m.DeletionTimestamp,
	}
}
