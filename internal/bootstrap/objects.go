// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	fieldManager = "connectedapps-bootstrap"
	// labelManagedBy tells what was made here from what somebody brought.
	labelManagedBy = "app.kubernetes.io/managed-by"
	managedBy      = "connectedapps-manager"
)

// errOvertaken says that an object is no longer as it was read.
var errOvertaken = errors.New("somebody else was faster")

// Reasons of Events about what was written.
const (
	// eventRestored: what somebody changed or removed of an object of the bundled token
	// server was put back; the message names the field manager.
	//
	//   - Secret and ConfigMap Events: Let nothing else write it.
	eventRestored = "Restored"
	// eventRenewed: a certificate of the bundled token server was renewed in time.
	//
	//   - Secret and ConfigMap Events.
	eventRenewed = "Renewed"
)

func setLabels(o client.Object) {
	labels := maps.Clone(o.GetLabels())
	if labels == nil {
		labels = map[string]string{}
	}
	labels[labelManagedBy] = managedBy
	labels["app.kubernetes.io/name"] = "connectedapps"
	labels["app.kubernetes.io/component"] = "tokenserver"
	o.SetLabels(labels)
}

// ours tells whether an object was made here and may be changed: it has our
// label, or lost it while the value of key is still the one written here.
func ours(o client.Object, key string) bool {
	if o.GetLabels()[labelManagedBy] == managedBy {
		return true
	}
	for _, entry := range o.GetManagedFields() {
		if entry.Manager != fieldManager || entry.FieldsV1 == nil {
			continue
		}
		var tree struct {
			Data map[string]json.RawMessage `json:"f:data"`
		}
		if json.Unmarshal(entry.FieldsV1.GetRawBytes(), &tree) != nil {
			continue
		}
		if _, ok := tree.Data["f:"+key]; ok {
			return true
		}
	}
	return false
}

// secret returns a Secret as the API server has it, nil when there is none.
func (r *Runnable) secret(ctx context.Context, name string) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	found, err := r.get(ctx, name, secret)
	if !found {
		return nil, err
	}
	return secret, nil
}

// configMap returns a ConfigMap as the API server has it, nil when there is
// none.
func (r *Runnable) configMap(ctx context.Context, name string) (*corev1.ConfigMap, error) {
	configMap := &corev1.ConfigMap{}
	found, err := r.get(ctx, name, configMap)
	if !found {
		return nil, err
	}
	return configMap, nil
}

func (r *Runnable) get(ctx context.Context, name string, o client.Object) (bool, error) {
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: name}, o)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading %s %s: %w", kindOf(o), name, err)
	}
	return true, nil
}

func (r *Runnable) newSecret(name string, kind corev1.SecretType, data map[string][]byte) *corev1.Secret {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: name}, Type: kind, Data: data}
	setLabels(secret)
	return secret
}

func (r *Runnable) newConfigMap(name string, data map[string]string) *corev1.ConfigMap {
	configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: name}, Data: data}
	setLabels(configMap)
	return configMap
}

// create returns errOvertaken when the name was taken in the meantime: whoever
// took it may have chosen other keys.
func (r *Runnable) create(ctx context.Context, o client.Object) error {
	err := r.Client.Create(ctx, o, client.FieldOwner(fieldManager))
	if apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating %s %s: %w", kindOf(o), o.GetName(), errOvertaken)
	}
	if err != nil {
		return fmt.Errorf("creating %s %s: %w", kindOf(o), o.GetName(), err)
	}
	r.writes++
	log.FromContext(ctx).Info("created", "kind", kindOf(o), "name", o.GetName())
	return nil
}

// update writes what differs from live; the resource version keeps the write of
// another from being lost: errOvertaken. reason is that of the Event.
func (r *Runnable) update(ctx context.Context, live, changed client.Object, reason string) error {
	if equality.Semantic.DeepEqual(live, changed) {
		return nil
	}
	err := r.put(ctx, live, changed)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return fmt.Errorf("updating %s %s: %w", kindOf(live), live.GetName(), errOvertaken)
	}
	if err != nil {
		return fmt.Errorf("updating %s %s: %w", kindOf(live), live.GetName(), err)
	}
	r.writes++
	r.tellWrite(ctx, live, reason)
	return nil
}

// put updates the object. One that was marked immutable takes no data: it is
// deleted and made anew.
func (r *Runnable) put(ctx context.Context, live, changed client.Object) error {
	if !immutable(live) || dataEqual(live, changed) {
		return r.Client.Update(ctx, changed, client.FieldOwner(fieldManager))
	}
	uid, version := live.GetUID(), live.GetResourceVersion()
	if err := r.Client.Delete(ctx, live, client.Preconditions{UID: &uid, ResourceVersion: &version}); err != nil {
		return err
	}
	fresh := changed.DeepCopyObject().(client.Object)
	fresh.SetUID("")
	fresh.SetResourceVersion("")
	fresh.SetManagedFields(nil)
	setMutable(fresh)
	err := r.Client.Create(ctx, fresh, client.FieldOwner(fieldManager))
	if apierrors.IsAlreadyExists(err) {
		return errOvertaken
	}
	return err
}

func immutable(o client.Object) bool {
	switch o := o.(type) {
	case *corev1.Secret:
		return o.Immutable != nil && *o.Immutable
	case *corev1.ConfigMap:
		return o.Immutable != nil && *o.Immutable
	}
	return false
}

func setMutable(o client.Object) {
	switch o := o.(type) {
	case *corev1.Secret:
		o.Immutable = nil
	case *corev1.ConfigMap:
		o.Immutable = nil
	}
}

func dataEqual(a, b client.Object) bool {
	if secret, ok := a.(*corev1.Secret); ok {
		return equality.Semantic.DeepEqual(secret.Data, b.(*corev1.Secret).Data)
	}
	return equality.Semantic.DeepEqual(a.(*corev1.ConfigMap).Data, b.(*corev1.ConfigMap).Data)
}

func kindOf(o client.Object) string {
	if _, ok := o.(*corev1.ConfigMap); ok {
		return "ConfigMap"
	}
	return "Secret"
}

// lastChangedBy names the field manager that wrote to an object last, ours
// aside; empty when there was none.
func lastChangedBy(o client.Object) string {
	var name string
	var last metav1.Time
	for _, entry := range o.GetManagedFields() {
		if entry.Manager != fieldManager && entry.Time != nil && !entry.Time.Before(&last) {
			name, last = entry.Manager, *entry.Time
		}
	}
	return name
}
