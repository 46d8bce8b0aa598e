// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/util/csaupgrade"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"connectedapps.dev/operator/api/v1alpha1"
)

// ErrNotOurs is returned when an object of the name exists and belongs to
// somebody else. Nothing was written.
var ErrNotOurs = errors.New("it belongs to somebody else")

// Secrets reads and writes Secrets of one controller, or ConfigMaps in the form of
// Secrets.
type Secrets struct {
	// Kind is what they are on the API server.
	Kind Kind
	// Client reads from the cache, which holds labelled Secrets only, and
	// writes.
	Client client.Client
	// Live reads from the API server: a Secret that lost its label is there and
	// not in the cache.
	Live client.Reader
	// Scheme knows the kinds of the owners.
	Scheme *runtime.Scheme
	// FieldManager owns the fields that Apply writes.
	FieldManager string
}

// Secret is what a Secret of ours should be. Labels and annotations of others
// on it stay, and so do keys that were never ours.
type Secret struct {
	Name        string
	Type        corev1.SecretType
	Labels      map[string]string
	Annotations map[string]string
	Data        map[string][]byte
	// Forbids tells of a key that is not in Data, and its value, that nobody may add:
	// readers would take it for ours. nil: none is.
	Forbids func(key string, value []byte) bool
}

// Intruders are the keys of a Secret that want forbids, in order. live may be nil.
func Intruders(live *corev1.Secret, want Secret) []string {
	if live == nil || want.Forbids == nil {
		return nil
	}
	var keys []string
	for key, value := range live.Data {
		if _, ours := want.Data[key]; !ours && want.Forbids(key, value) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// Get returns the owner's Secret of that name, or nil when there is none.
// ErrNotOurs when it belongs to somebody else.
func (s *Secrets) Get(ctx context.Context, owner client.Object, name string) (*corev1.Secret, error) {
	if s.Kind == KindConfigMap {
		return s.GetLive(ctx, owner, name) // no cache holds what is in them
	}
	secret := &corev1.Secret{}
	err := s.Client.Get(ctx, client.ObjectKey{Namespace: owner.GetNamespace(), Name: name}, secret)
	if apierrors.IsNotFound(err) {
		return s.GetLive(ctx, owner, name)
	}
	return s.checked(secret, owner, err)
}

// GetLive is Get without the cache, for decisions that must not rest on what was
// true a moment ago.
func (s *Secrets) GetLive(ctx context.Context, owner client.Object, name string) (*corev1.Secret, error) {
	object := s.Kind.empty()
	err := s.Live.Get(ctx, client.ObjectKey{Namespace: owner.GetNamespace(), Name: name}, object)
	return s.checked(object, owner, err)
}

func (s *Secrets) checked(object, owner client.Object, err error) (*corev1.Secret, error) {
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading a %s: %w", s.Kind, err)
	case !Owned(object, owner):
		return nil, ErrNotOurs
	}
	return s.Kind.secret(object), nil
}

// Owned tells whether owner's controller made object: the controller reference
// has owner's UID. Labels prove nothing, anybody can set them.
func Owned(object, owner client.Object) bool {
	reference := metav1.GetControllerOf(object)
	return reference != nil && reference.UID == owner.GetUID()
}

// Apply makes the Secret as want says and returns it as it is now, and whether
// anything was written. live is what Get returned. ErrNotOurs when somebody
// else was faster with the name.
func (s *Secrets) Apply(ctx context.Context, owner client.Object, live *corev1.Secret, want Secret) (*corev1.Secret, bool, error) {
	switch {
	case live == nil:
		made, err := s.create(ctx, owner, want)
		return made, err == nil, err
	case live.Type != want.Type:
		made, err := s.replace(ctx, owner, live, want)
		return made, err == nil, err
	case s.Matches(live, want):
		return live, false, nil
	}
	changed, err := s.change(ctx, owner, live, want)
	if apierrors.IsInvalid(err) {
		changed, err = s.insist(ctx, owner, want, err)
	}
	return changed, err == nil, err
}

// change makes what is there as want says.
func (s *Secrets) change(ctx context.Context, owner client.Object, live *corev1.Secret, want Secret) (*corev1.Secret, error) {
	if err := s.takeOver(ctx, live); err != nil {
		return nil, err
	}
	if err := s.remove(ctx, live, Intruders(live, want)); err != nil {
		return nil, err
	}
	return s.apply(ctx, owner, live.UID, want)
}

// insist takes out of the way what lets the API server refuse a change, which
// whoever may edit the object can put there: that it is immutable, or that a
// ConfigMap has our keys in binaryData.
func (s *Secrets) insist(ctx context.Context, owner client.Object, want Secret, refusal error) (*corev1.Secret, error) {
	live, err := s.GetLive(ctx, owner, want.Name)
	switch {
	case err != nil:
		return nil, err
	case live == nil:
		return nil, refusal
	case live.Immutable != nil && *live.Immutable:
		return s.replace(ctx, owner, live, want)
	case s.Kind != KindConfigMap:
		return nil, refusal
	}
	if err := s.remove(ctx, live, slices.Sorted(maps.Keys(want.Data))); err != nil {
		return nil, err
	}
	return s.apply(ctx, owner, live.UID, want)
}

// remove takes keys out of a Secret, whoever put them there, of a ConfigMap also
// those in binaryData.
func (s *Secrets) remove(ctx context.Context, live *corev1.Secret, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	gone := make(map[string]any, len(keys))
	for _, key := range keys {
		gone[key] = nil
	}
	patch := map[string]any{"metadata": map[string]any{"uid": live.UID}, "data": gone}
	if s.Kind == KindConfigMap {
		patch["binaryData"] = gone
	}
	text, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	object := s.Kind.object(live.DeepCopy())
	if err := s.Client.Patch(ctx, object, client.RawPatch(types.MergePatchType, text), client.FieldOwner(s.FieldManager)); err != nil {
		return fmt.Errorf("removing keys of %s %s: %w", s.Kind, live.Name, err)
	}
	return nil
}

// Delete removes a Secret that Get returned. One that is gone, or was replaced
// by another of the same name, is no error.
func (s *Secrets) Delete(ctx context.Context, owner client.Object, secret *corev1.Secret) error {
	if !Owned(secret, owner) {
		return ErrNotOurs
	}
	err := s.Client.Delete(ctx, s.Kind.object(secret), client.Preconditions{UID: &secret.UID})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("deleting %s %s: %w", s.Kind, secret.Name, err)
	}
	return nil
}

// Release lets a Secret that Get returned go: it stays when its owner is
// deleted, and is nobody's from then on.
func (s *Secrets) Release(ctx context.Context, owner client.Object, secret *corev1.Secret) error {
	if !Owned(secret, owner) {
		return ErrNotOurs
	}
	released := secret.DeepCopy()
	released.OwnerReferences = slices.DeleteFunc(released.OwnerReferences, func(r metav1.OwnerReference) bool { return r.UID == owner.GetUID() })
	delete(released.Labels, v1alpha1.LabelSecret)
	patch := client.MergeFromWithOptions(s.Kind.object(secret), client.MergeFromWithOptimisticLock{})
	err := s.Client.Patch(ctx, s.Kind.object(released), patch, client.FieldOwner(s.FieldManager))
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("releasing %s %s: %w", s.Kind, secret.Name, err)
	}
	return nil
}

// replace makes the Secret anew, because its type cannot be changed. What others
// put into it is carried over.
func (s *Secrets) replace(ctx context.Context, owner client.Object, live *corev1.Secret, want Secret) (*corev1.Secret, error) {
	others := s.ofOthers(live, want)
	if err := s.Delete(ctx, owner, live); err != nil {
		return nil, err
	}
	if len(others.Data)+len(others.Labels)+len(others.Annotations) == 0 {
		return s.create(ctx, owner, want)
	}
	// Theirs comes first and under another name, so that it is never taken for
	// ours.
	theirs := *s
	theirs.FieldManager = carriedOver
	made, err := theirs.create(ctx, owner, others)
	if err != nil {
		return nil, err
	}
	return s.apply(ctx, owner, made.UID, want)
}

// carriedOver is the field manager of what others had put into a Secret that was
// made anew.
const carriedOver = "connectedapps-carried-over"

// ofOthers is what live holds that we never wrote.
func (s *Secrets) ofOthers(live *corev1.Secret, want Secret) Secret {
	others := Secret{
		Name: want.Name, Type: want.Type,
		Labels: maps.Clone(live.Labels), Annotations: maps.Clone(live.Annotations), Data: maps.Clone(live.Data),
	}
	for _, entry := range live.ManagedFields {
		if entry.Manager != s.FieldManager || entry.FieldsV1 == nil {
			continue
		}
		ours := ownedNames(entry.FieldsV1.GetRawBytes())
		removeNames(others.Labels, ours.labels)
		removeNames(others.Annotations, ours.annotations)
		removeNames(others.Data, ours.data)
	}
	removeNames(others.Data, Intruders(live, want))
	return others
}

func removeNames[V any](from map[string]V, names []string) {
	for _, name := range names {
		delete(from, name)
	}
}

// create is the first write: it fails when the name is taken.
func (s *Secrets) create(ctx context.Context, owner client.Object, want Secret) (*corev1.Secret, error) {
	reference, err := s.Reference(owner)
	if err != nil {
		return nil, err
	}
	object := s.Kind.object(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: owner.GetNamespace(), Name: want.Name, Labels: want.Labels, Annotations: want.Annotations,
			OwnerReferences: []metav1.OwnerReference{reference},
		},
		Type: want.Type, Data: want.Data,
	})
	err = s.Client.Create(ctx, object, client.FieldOwner(s.FieldManager))
	if apierrors.IsAlreadyExists(err) {
		return nil, ErrNotOurs
	}
	if err != nil {
		return nil, fmt.Errorf("creating %s %s: %w", s.Kind, want.Name, err)
	}
	return s.Kind.secret(object), nil
}

func (s *Secrets) apply(ctx context.Context, owner client.Object, uid types.UID, want Secret) (*corev1.Secret, error) {
	reference, err := s.Reference(owner)
	if err != nil {
		return nil, err
	}
	configuration := s.Kind.configuration(owner.GetNamespace(), uid, want, metav1ac.OwnerReference().
		WithAPIVersion(reference.APIVersion).WithKind(reference.Kind).WithName(reference.Name).WithUID(reference.UID).
		WithController(true))
	if err := s.Client.Apply(ctx, configuration, client.FieldOwner(s.FieldManager), client.ForceOwnership); err != nil {
		return nil, fmt.Errorf("applying %s %s: %w", s.Kind, want.Name, err)
	}
	changed := &corev1.Secret{}
	changed.Namespace, changed.Name, changed.UID = owner.GetNamespace(), want.Name, uid
	changed.Labels, changed.Annotations, changed.Type, changed.Data = want.Labels, want.Annotations, want.Type, want.Data
	changed.OwnerReferences = []metav1.OwnerReference{reference}
	return changed, nil
}

// takeOver gives the fields that create wrote to the same manager's applies.
// Without it a key that is no longer applied would stay.
func (s *Secrets) takeOver(ctx context.Context, live *corev1.Secret) error {
	created := func(e metav1.ManagedFieldsEntry) bool {
		return e.Manager == s.FieldManager && e.Operation == metav1.ManagedFieldsOperationUpdate
	}
	if !slices.ContainsFunc(live.ManagedFields, created) {
		return nil
	}
	object := s.Kind.object(live)
	patch, err := csaupgrade.UpgradeManagedFieldsPatch(object, sets.New(s.FieldManager), s.FieldManager)
	if err != nil || len(patch) == 0 {
		return err
	}
	if err := s.Client.Patch(ctx, object, client.RawPatch(types.JSONPatchType, patch)); err != nil {
		return fmt.Errorf("taking over the fields of %s %s: %w", s.Kind, live.Name, err)
	}
	return nil
}

// Reference makes owner the controller of what it is put into, which goes with it.
func (s *Secrets) Reference(owner client.Object) (metav1.OwnerReference, error) {
	kind, err := apiutil.GVKForObject(owner, s.Scheme)
	if err != nil {
		return metav1.OwnerReference{}, fmt.Errorf("naming the owner's kind: %w", err)
	}
	// Blocking the owner's deletion would need a permission more on clusters
	// that check it, and buys nothing here.
	return metav1.OwnerReference{
		APIVersion: kind.GroupVersion().String(), Kind: kind.Kind, Name: owner.GetName(), UID: owner.GetUID(), Controller: new(true),
	}, nil
}

// Matches tells whether live holds all of want and nothing that was ours and
// is no longer wanted: Apply would write nothing. live may be nil.
func (s *Secrets) Matches(live *corev1.Secret, want Secret) bool {
	return live != nil && live.Type == want.Type &&
		contains(live.Labels, want.Labels) && contains(live.Annotations, want.Annotations) && containsData(live.Data, want.Data) &&
		!s.ownsMore(live, want) && len(Intruders(live, want)) == 0
}

func contains(have, want map[string]string) bool {
	for k, v := range want {
		if value, ok := have[k]; !ok || value != v {
			return false
		}
	}
	return true
}

func containsData(have, want map[string][]byte) bool {
	for k, v := range want {
		if value, ok := have[k]; !ok || !bytes.Equal(value, v) {
			return false
		}
	}
	return true
}

// ownsMore tells whether the manager set something on live that want no longer
// has: what is removed from a spec is removed from the Secret.
func (s *Secrets) ownsMore(live *corev1.Secret, want Secret) bool {
	for _, entry := range live.ManagedFields {
		if entry.Manager != s.FieldManager || entry.FieldsV1 == nil {
			continue
		}
		owned := ownedNames(entry.FieldsV1.GetRawBytes())
		if !subset(owned.labels, want.Labels) || !subset(owned.annotations, want.Annotations) || !subset(owned.data, want.Data) {
			return true
		}
	}
	return false
}

func subset[V any](names []string, of map[string]V) bool {
	return !slices.ContainsFunc(names, func(name string) bool { _, ok := of[name]; return !ok })
}

// Labels are the labels of a Secret of ours: the manager's own and those the
// spec asks for.
func Labels(metadata *v1alpha1.SecretMetadata, own map[string]string) map[string]string {
	labels := map[string]string{v1alpha1.LabelSecret: v1alpha1.SecretManaged}
	maps.Copy(labels, own)
	if metadata != nil {
		for k, v := range metadata.Labels {
			labels[k] = string(v)
		}
	}
	return labels
}

// Annotations are the annotations of a Secret of ours, likewise.
func Annotations(metadata *v1alpha1.SecretMetadata, own map[string]string) map[string]string {
	annotations := maps.Clone(own)
	if annotations == nil {
		annotations = map[string]string{}
	}
	if metadata != nil {
		for k, v := range metadata.Annotations {
			annotations[k] = string(v)
		}
	}
	return annotations
}
