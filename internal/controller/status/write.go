// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Patch writes the status of changed where it differs from original, and
// reports whether it did: nothing is sent when nothing changed. Only the status
// must differ. The patch carries the object's UID, so that a status never lands
// on another object that took the name.
//
// It is a merge patch: each kind's status has one controller as its only
// writer, and the list of conditions is replaced whole.
func Patch(ctx context.Context, c client.Client, original, changed client.Object) (bool, error) {
	data, err := client.MergeFrom(original).Data(changed)
	if err != nil {
		return false, fmt.Errorf("comparing the status: %w", err)
	}
	var patch map[string]any
	if err := json.Unmarshal(data, &patch); err != nil {
		return false, fmt.Errorf("comparing the status: %w", err)
	}
	if len(patch) == 0 {
		return false, nil
	}
	patch["metadata"] = map[string]any{"uid": changed.GetUID()}
	if data, err = json.Marshal(patch); err != nil {
		return false, fmt.Errorf("comparing the status: %w", err)
	}
	if err := c.Status().Patch(ctx, changed, client.RawPatch(types.MergePatchType, data)); err != nil {
		return false, fmt.Errorf("writing the status: %w", err)
	}
	return true, nil
}
