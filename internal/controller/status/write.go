// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"encoding/json"
	"fmt"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Patch writes the status of changed where it differs from original, as
// fieldManager, and reports whether it did: nothing is sent when nothing changed. changed becomes
// what the API server answered. The patch carries the object's UID, so that a
// status never lands on another object that took the name.
//
// It is a merge patch: each kind's status has one controller as its only
// writer, and the list of conditions is replaced whole.
func Patch(ctx context.Context, c client.Client, fieldManager string, original, changed Object) (bool, error) {
	if equality.Semantic.DeepEqual(original.GetStatus(), changed.GetStatus()) {
		return false, nil
	}
	diff, err := difference(original.GetStatus(), changed.GetStatus())
	if err != nil {
		return false, fmt.Errorf("comparing the status: %w", err)
	}
	if string(diff) == "{}" {
		return false, nil // times that differ by less than is written
	}
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": changed.GetUID()}, "status": json.RawMessage(diff)})
	if err != nil {
		return false, fmt.Errorf("comparing the status: %w", err)
	}
	if err := c.Status().Patch(ctx, changed, client.RawPatch(types.MergePatchType, data), client.FieldOwner(fieldManager)); err != nil {
		return false, fmt.Errorf("writing the status: %w", err)
	}
	return true, nil
}

// difference is the merge patch from one status to another.
func difference(original, changed any) ([]byte, error) {
	before, err := json.Marshal(original)
	if err != nil {
		return nil, err
	}
	after, err := json.Marshal(changed)
	if err != nil {
		return nil, err
	}
	return jsonpatch.CreateMergePatch(before, after)
}
