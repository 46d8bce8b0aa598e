// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"time"

	"connectedapps.dev/operator/api/v1alpha1"
)

// NextRotation is when the client secret in the app's Secret is replaced by
// schedule, as far as the status tells; zero: by none.
func NextRotation(app *v1alpha1.ConnectedApp) time.Time {
	if interval(app) == 0 || app.Suspended() {
		return time.Time{}
	}
	for _, s := range app.Status.Secrets {
		if s.ReplacedAt == nil && s.CreatedAt != nil {
			return scheduled(app, s.CreatedAt.Time)
		}
	}
	return time.Time{}
}
