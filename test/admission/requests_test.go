// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/plan/plantest"
)

// key is a text by which equal values are known.
func key(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	require.NoError(t, err)
	return string(text)
}

// What the plan makes of each row is what the API server makes of it.
func TestTheAPIServerDecidesAsThePlanDoes(t *testing.T) {
	servers, namespaces := map[string]*v1alpha1.TokenServer{}, map[string]string{}
	for _, row := range plantest.Requests() {
		if id := key(t, row.Rules); servers[id] == nil {
			servers[id] = tokenServer(t, row.Rules...)
		}
		if id := key(t, row.Labels); namespaces[id] == "" {
			namespaces[id] = plane.Namespace(t, row.Labels)
		}
	}
	settle(t)
	for _, row := range plantest.Requests() {
		t.Run(row.Name, func(t *testing.T) {
			app := row.App(namespaces[key(t, row.Labels)])
			app.Spec.TokenServerRef = &v1alpha1.TokenServerReference{Name: servers[key(t, row.Rules)].Name}
			err := plane.Client.Create(t.Context(), app, client.DryRunAll)
			if row.Schema != "" {
				require.True(t, apierrors.IsInvalid(err), "%v", err)
				require.ErrorContains(t, err, row.Schema)
				return
			}
			require.Equal(t, row.Allowed, refusal(t, err) == "", "%v", err)
		})
	}
}
