// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"encoding/json"
	"fmt"

	jsonpatch "github.com/evanphx/json-patch/v5"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
)

// strict refuses fields that the schema does not know, as kubectl apply does.
const strict = client.FieldValidation(metav1.FieldValidationStrict)

// apply finds the object before and after an apply: the API server tries it and
// stores nothing. Without the right to it, it is worked out here, by the rules of
// kubectl and without those of the API server.
func (c *comparison) apply(ctx context.Context, manifest Manifest, o DiffOptions) error {
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(manifest.GroupVersionKind())
	err := c.Client.Get(ctx, client.ObjectKeyFromObject(manifest), live)
	if client.IgnoreNotFound(err) != nil {
		return manifest.refused(err, "reading it")
	}
	if apierrors.IsNotFound(err) {
		live = nil
	}
	after, err := c.dryApply(ctx, manifest.Unstructured, live, o)
	right := asLacking(err)
	switch {
	case err == nil:
		c.admitted = true
	case refusedByRules(err):
		c.denied = refusalOfAdmission(err)
		after, err = merged(manifest.Unstructured, live)
	case right != nil:
		c.note("the API server did not check the apply: %v", right)
		after, err = merged(manifest.Unstructured, live)
	}
	if err != nil {
		return manifest.refused(err, "trying to apply it")
	}
	if live != nil {
		if c.before, err = appOf(live); err != nil {
			return err
		}
	}
	c.after, err = appOf(after)
	return err
}

// dryApply is the object as the API server makes it of an apply.
func (c *comparison) dryApply(ctx context.Context, manifest, live *unstructured.Unstructured, o DiffOptions) (*unstructured.Unstructured, error) {
	after := manifest.DeepCopy()
	switch {
	case o.ServerSide:
		err := c.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(after), client.DryRunAll, client.FieldOwner(o.FieldManager), client.ForceOwnership)
		return after, err
	case live == nil:
		return after, c.Client.Create(ctx, after, client.DryRunAll, strict)
	}
	patch, err := patchOf(manifest, live)
	if err != nil {
		return nil, err
	}
	after = live.DeepCopy()
	return after, c.Client.Patch(ctx, after, client.RawPatch(types.MergePatchType, patch), client.DryRunAll, strict)
}

// patchOf is what kubectl apply sends: what the manifest says, and an end of what
// the one before, in an annotation, said and it does not.
func patchOf(manifest, live *unstructured.Unstructured) ([]byte, error) {
	wanted, err := json.Marshal(manifest)
	if err != nil {
		return nil, err
	}
	current, err := json.Marshal(live)
	if err != nil {
		return nil, err
	}
	return jsonmergepatch.CreateThreeWayJSONMergePatch([]byte(live.GetAnnotations()[corev1.LastAppliedConfigAnnotation]), wanted, current)
}

// merged is what an apply makes of an object, as far as it is known here.
func merged(manifest, live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if live == nil {
		return manifest, nil
	}
	patch, err := patchOf(manifest, live)
	if err != nil {
		return nil, err
	}
	current, err := json.Marshal(live)
	if err != nil {
		return nil, err
	}
	data, err := jsonpatch.MergePatch(current, patch)
	if err != nil {
		return nil, err
	}
	after := &unstructured.Unstructured{}
	return after, json.Unmarshal(data, after)
}

// appOf reads a ConnectedApp.
func appOf(u *unstructured.Unstructured) (*v1alpha1.ConnectedApp, error) {
	app := &v1alpha1.ConnectedApp{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, app); err != nil {
		return nil, fmt.Errorf("it is no ConnectedApp of %s: %w", v1alpha1.GroupVersion, err)
	}
	return app, nil
}
