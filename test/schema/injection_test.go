// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apimachinery/pkg/util/yaml"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	"k8s.io/apiserver/pkg/cel/environment"
)

// Policies that change objects are served from 1.36 on; see
// TestTheOldestAPIServerTakesThePolicy.
func TestTheOldestAPIServerThatCanInjectTakesThePolicy(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "config", "injection", "policy.yaml"))
	require.NoError(t, err)
	p := &admissionv1.MutatingAdmissionPolicy{}
	require.NoError(t, yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096).Decode(p))
	require.Equal(t, "MutatingAdmissionPolicy", p.Kind)

	compiler, err := plugincel.NewCompositedCompiler(environment.MustBaseEnvSet(version.MajorMinor(1, 35)))
	require.NoError(t, err)
	options := plugincel.OptionalVariableDeclarations{HasParams: true, HasAuthorizer: true}
	for _, v := range p.Spec.Variables {
		compiled := compiler.CompileAndStoreVariable(&validating.Variable{Name: v.Name, Expression: v.Expression}, options, environment.NewExpressions)
		require.Nil(t, compiled.Error, "%s: %v", v.Name, compiled.Error)
	}
	for i := range p.Spec.MatchConditions {
		condition := (*matchconditions.MatchCondition)(&p.Spec.MatchConditions[i])
		compiled := compiler.CompileCELExpression(condition, options, environment.NewExpressions)
		require.Nil(t, compiled.Error, "%s: %v", condition.Name, compiled.Error)
	}
	options.HasPatchTypes = true
	require.NotEmpty(t, p.Spec.Mutations)
	for _, m := range p.Spec.Mutations {
		compiled := compiler.CompileCELExpression(&patch.JSONPatchCondition{Expression: m.JSONPatch.Expression}, options, environment.NewExpressions)
		require.Nil(t, compiled.Error, "%v", compiled.Error)
	}
}
