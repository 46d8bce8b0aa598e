// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/plan/plantest"
)

// The same table runs through the admission policy: in test/schema and, on an API
// server, in test/admission.
func TestTheRequestsOfTheTable(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range plantest.Requests() {
		require.False(t, seen[row.Name], "two rows are called %q", row.Name)
		seen[row.Name] = true
		t.Run(row.Name, func(t *testing.T) {
			t.Parallel()
			allowed, _ := plantest.Judge(row.App("payments"), row.Labels, row.Rules, plantest.OrganizationID)
			require.Equal(t, row.Allowed, allowed)
		})
	}
}
