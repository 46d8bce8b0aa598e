// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/ext"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"
)

// expressions are a member of healthCheckExprs of a Flux Kustomization.
type expressions struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	InProgress string `json:"inProgress"`
	Failed     string `json:"failed"`
	Current    string `json:"current"`
}

// fluxExpressions are those of config/samples/gitops, by kind.
func fluxExpressions(t testing.TB) map[string]expressions {
	t.Helper()
	found := map[string]expressions{}
	for _, file := range []string{"order.yaml", "teams/orders.yaml"} {
		for document := range strings.SplitSeq(read(t, config("samples/gitops/flux/"+file)), "\n---\n") {
			var kustomization struct {
				Spec struct{ HealthCheckExprs []expressions }
			}
			require.NoError(t, yaml.Unmarshal([]byte(document), &kustomization))
			for _, e := range kustomization.Spec.HealthCheckExprs {
				require.Equal(t, "connectedapps.dev/v1alpha1", e.APIVersion)
				found[e.Kind] = e
			}
		}
	}
	require.ElementsMatch(t, []string{"TokenServer", "ConnectedApp", "AccessToken"}, slices.Collect(maps.Keys(found)))
	return found
}

// fluxHealth is what Flux sees of an object. The order, and that of a generation
// which was not observed nothing is asked, are those of Flux (RFC 0009).
func fluxHealth(t testing.TB, object map[string]any) kstatus.Status {
	t.Helper()
	o := unstructured.Unstructured{Object: object}
	observed, found, err := unstructured.NestedInt64(object, "status", "observedGeneration")
	require.NoError(t, err)
	if found && observed != o.GetGeneration() {
		return kstatus.InProgressStatus
	}
	e := fluxExpressions(t)[o.GetKind()]
	for _, rule := range []struct {
		expression string
		status     kstatus.Status
	}{{e.InProgress, kstatus.InProgressStatus}, {e.Failed, kstatus.FailedStatus}, {e.Current, kstatus.CurrentStatus}} {
		if holds(t, rule.expression, object) {
			return rule.status
		}
	}
	return kstatus.InProgressStatus
}

// holds evaluates an expression with the language that Flux has. It is parsed and
// not checked, and a member of the object that is not there is an error.
func holds(t testing.TB, expression string, object map[string]any) bool {
	t.Helper()
	environment, err := cel.NewEnv(cel.HomogeneousAggregateLiterals(), cel.EagerlyValidateDeclarations(true), cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true), cel.OptionalTypes(), ext.Strings(), ext.Sets(), ext.Encoders())
	require.NoError(t, err)
	parsed, issues := environment.Parse(expression)
	require.NoError(t, issues.Err(), expression)
	program, err := environment.Program(parsed, cel.EvalOptions(cel.OptOptimize))
	require.NoError(t, err)
	value, _, err := program.ContextEval(t.Context(), object)
	require.NoError(t, err, expression)
	is, ok := value.Value().(bool)
	require.True(t, ok, "%s is neither true nor false", expression)
	return is
}

// TestFluxIsGivenOneSetOfExpressions: all kinds have the same conditions, and the
// page has what config/samples has.
func TestFluxIsGivenOneSetOfExpressions(t *testing.T) {
	of := fluxExpressions(t)
	for kind, e := range of {
		e.Kind = "ConnectedApp"
		require.Equal(t, of["ConnectedApp"], e, kind)
	}
	_, block, found := strings.Cut(page(t), "\n```yaml\napiVersion: kustomize.toolkit.fluxcd.io/v1\n")
	require.True(t, found)
	block, _, _ = strings.Cut(block, "```")
	var kustomization struct {
		Spec struct{ HealthCheckExprs []expressions }
	}
	require.NoError(t, yaml.Unmarshal([]byte(block), &kustomization))
	require.Equal(t, []expressions{of["ConnectedApp"]}, kustomization.Spec.HealthCheckExprs)
}
