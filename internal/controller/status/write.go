// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"encoding/json"
	"fmt"

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
func Patch(ctx context.Context, c client.Client, fieldManager string, original, changed client.Object) (bool, error) {
	data, err := client.MergeFrom(original).Data(changed)
	if err != nil {
		return false, fmt.Errorf("comparing the status: %w", err)
	}
	var diff struct {
		Status map[string]any `json:"status"`
	}
	if err := json.Unmarshal(data, &diff); err != nil {
		return false, fmt.Errorf("comparing the status: %w", err)
	}
	if len(diff.Status) == 0 {
		return false, nil
	}
	data, err = json.Marshal(map[string]any{"metadata": map[string]any{"uid": changed.GetUID()}, "status": diff.Status})
	if err != nil {
		return false, fmt.Errorf("comparing the status: %w", err)
	}
	if err := c.Status().Patch(ctx, changed, client.RawPatch(types.MergePatchType, data), client.FieldOwner(fieldManager)); err != nil {
		return false, fmt.Errorf("writing the status: %w", err)
	}
	return true, nil
}
