// SPDX-License-Identifier: Apache-2.0

// Package object is what every controller does with the objects it keeps: it
// reads them no older than it wrote them, settles their finalizer, writes their
// status once, and tells refusals of the API server from races.
package object

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
)

// Store reads and writes the objects of one controller. It is safe for use by
// several goroutines, each with another object.
type Store[T status.Object] struct {
	// Client reads from the cache and writes.
	Client client.Client
	// Live reads from the API server.
	Live client.Reader
	// New makes an empty object.
	New func() T
	// FieldManager owns what is written, finalizers and statuses, and is what people
	// see in a conflict; empty: the name of the program.
	FieldManager string

	mu      sync.Mutex
	written map[types.NamespacedName]string // newest resource version by us
	// released are the objects that we let go: the API server answers to that with
	// the version from before.
	released map[types.NamespacedName]types.UID
}

// Get reads an object, from the API server when the cache has not yet seen what
// this process wrote: acting on an older status would repeat what was done, and
// show what was. The error is NotFound when there is no such object, whose
// version is then forgotten.
func (s *Store[T]) Get(ctx context.Context, key client.ObjectKey) (T, error) {
	object := s.New()
	err := s.Client.Get(ctx, key, object)
	if err == nil && s.isBehind(object) {
		object = s.New()
		err = s.Live.Get(ctx, key, object)
	}
	if apierrors.IsNotFound(err) {
		s.forget(key)
		return object, err
	}
	if err != nil {
		return object, fmt.Errorf("reading %s: %w", key, err)
	}
	return object, nil
}

// WriteStatus writes the status of changed where it differs from original, which
// becomes changed. It tells whether anything was written. An object that is gone
// is no error.
func (s *Store[T]) WriteStatus(ctx context.Context, original, changed T) (bool, error) {
	written, err := status.Patch(ctx, s.Client, s.FieldManager, original, changed)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if written && err == nil {
		s.wrote(changed)
	}
	return written, err
}

// AddFinalizer makes sure that an object has our finalizer, on every pass: one
// that somebody took away comes back. It tells whether it had to write.
func (s *Store[T]) AddFinalizer(ctx context.Context, object T) (bool, error) {
	if controllerutil.ContainsFinalizer(object, v1alpha1.Finalizer) {
		return false, nil
	}
	err := s.patchFinalizers(ctx, object, func(o client.Object) { controllerutil.AddFinalizer(o, v1alpha1.Finalizer) })
	if err != nil {
		return false, fmt.Errorf("adding the finalizer: %w", err)
	}
	return true, nil
}

// RemoveFinalizer lets an object go. One that is gone is no error.
func (s *Store[T]) RemoveFinalizer(ctx context.Context, object T) error {
	if !controllerutil.ContainsFinalizer(object, v1alpha1.Finalizer) {
		return nil
	}
	err := s.patchFinalizers(ctx, object, func(o client.Object) { controllerutil.RemoveFinalizer(o, v1alpha1.Finalizer) })
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("removing the finalizer: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.released == nil {
		s.released = map[types.NamespacedName]types.UID{}
	}
	s.released[client.ObjectKeyFromObject(object)] = object.GetUID()
	return nil
}

// patchFinalizers leaves all but the metadata of object as it is in memory. A merge
// patch replaces the whole list: with the version in it two writers do not remove
// each other's entries.
func (s *Store[T]) patchFinalizers(ctx context.Context, object T, change func(client.Object)) error {
	changed, ok := object.DeepCopyObject().(T)
	if !ok {
		return fmt.Errorf("copying %s: not the same kind", object.GetName())
	}
	change(changed)
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"resourceVersion": object.GetResourceVersion(), "uid": object.GetUID(), "finalizers": changed.GetFinalizers(),
	}})
	if err != nil {
		return fmt.Errorf("writing the finalizers down: %w", err)
	}
	if err := s.Client.Patch(ctx, changed, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(s.FieldManager)); err != nil {
		return err
	}
	s.wrote(changed)
	object.SetFinalizers(changed.GetFinalizers())
	object.SetResourceVersion(changed.GetResourceVersion())
	return nil
}

func (s *Store[T]) wrote(object T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.written == nil {
		s.written = map[types.NamespacedName]string{}
	}
	s.written[client.ObjectKeyFromObject(object)] = object.GetResourceVersion()
}

func (s *Store[T]) forget(key client.ObjectKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.written, key)
	delete(s.released, key)
}

// isBehind compares versions across objects of one name as well: they are counted
// for the whole kind.
func (s *Store[T]) isBehind(object T) bool {
	key := client.ObjectKeyFromObject(object)
	s.mu.Lock()
	written, released := s.written[key], s.released[key]
	s.mu.Unlock()
	if released != "" && released == object.GetUID() {
		return true
	}
	if written == "" {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(object.GetResourceVersion(), written)
	return err != nil || order < 0
}
