// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/apiserver/pkg/admission"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/cel/environment"

	"connectedapps.dev/operator/api/v1alpha1"
)

// policy is the access policy, compiled as an API server of some version does it
// (compilePolicy of k8s.io/apiserver/pkg/admission/plugin/policy/validating).
type policy struct {
	validating.Validator
	// Problems are what does not compile.
	Problems []string
}

func accessPolicy(t testing.TB) *admissionv1.ValidatingAdmissionPolicy {
	t.Helper()
	return policyIn(t, "access.yaml")
}

// policyIn is the policy of a file of config/admission.
func policyIn(t testing.TB, file string) *admissionv1.ValidatingAdmissionPolicy {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "config", "admission", file))
	require.NoError(t, err)
	p := &admissionv1.ValidatingAdmissionPolicy{}
	require.NoError(t, yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096).Decode(p))
	require.Equal(t, "ValidatingAdmissionPolicy", p.Kind)
	return p
}

func compilePolicy(t testing.TB, p *admissionv1.ValidatingAdmissionPolicy, of *version.Version, mode environment.Type) policy {
	t.Helper()
	compiler, err := plugincel.NewCompositedCompiler(environment.MustBaseEnvSet(of))
	require.NoError(t, err)
	result := policy{}
	note := func(what string, err error) {
		if err != nil {
			result.Problems = append(result.Problems, what+": "+err.Error())
		}
	}
	options := plugincel.OptionalVariableDeclarations{HasParams: true, HasAuthorizer: true}
	for _, v := range p.Spec.Variables {
		compiled := compiler.CompileAndStoreVariable(&validating.Variable{Name: v.Name, Expression: v.Expression}, options, mode)
		if compiled.Error != nil {
			note("variable "+v.Name, compiled.Error)
		}
	}
	var conditions, validations, messages []plugincel.ExpressionAccessor
	check := func(what string, accessor plugincel.ExpressionAccessor) plugincel.ExpressionAccessor {
		if compiled := compiler.CompileCELExpression(accessor, options, mode); compiled.Error != nil {
			note(what, compiled.Error)
		}
		return accessor
	}
	for i := range p.Spec.MatchConditions {
		conditions = append(conditions, check("match condition", (*matchconditions.MatchCondition)(&p.Spec.MatchConditions[i])))
	}
	for _, v := range p.Spec.Validations {
		validations = append(validations, check("validation", &validating.ValidationCondition{Expression: v.Expression, Message: v.Message, Reason: v.Reason}))
		var message plugincel.ExpressionAccessor // nil: the message is a text
		if v.MessageExpression != "" {
			message = check("message", &validating.MessageExpressionCondition{MessageExpression: v.MessageExpression})
		}
		messages = append(messages, message)
	}
	result.Validator = validating.NewValidator(
		compiler.CompileCondition(validations, options, mode),
		matchconditions.NewMatcher(compiler.CompileCondition(conditions, options, mode), p.Spec.FailurePolicy, "policy", "validate", p.Name),
		compiler.CompileCondition(nil, options, mode),
		compiler.CompileCondition(messages, plugincel.OptionalVariableDeclarations{HasParams: true}, mode),
		p.Spec.FailurePolicy, nil,
	)
	return result
}

// request is what the policy decides about.
type request struct {
	app, old *v1alpha1.ConnectedApp
	server   *v1alpha1.TokenServer
	labels   map[string]string
}

// answer is what it decides.
type answer struct {
	// refused tells whether the request is refused, message why.
	refused bool
	message string
	// failed is why a part of it could not be evaluated; empty: all could.
	failed string
}

func untyped(t require.TestingT, object any) *unstructured.Unstructured {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	require.NoError(t, err)
	return &unstructured.Unstructured{Object: content}
}

// decide evaluates the policy for a request and one TokenServer.
func (p policy) decide(t require.TestingT, r request) answer {
	kind := v1alpha1.GroupVersion.WithKind("ConnectedApp")
	resource := v1alpha1.GroupVersion.WithResource("connectedapps")
	object := untyped(t, r.app)
	object.SetGroupVersionKind(kind)
	operation := admission.Create
	var old runtime.Object
	if r.old != nil {
		former := untyped(t, r.old)
		former.SetGroupVersionKind(kind)
		old, operation = former, admission.Update
	}
	attributes := admission.NewAttributesRecord(object, old, kind, r.app.Namespace, r.app.Name, resource, "", operation, nil, false, &user.DefaultInfo{Name: "tenant"})
	versioned, err := admission.NewVersionedAttributes(attributes, kind, admission.NewObjectInterfacesFromScheme(runtime.NewScheme()))
	require.NoError(t, err)
	params := untyped(t, r.server)
	params.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("TokenServer"))
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: r.app.Namespace, Labels: r.labels}}
	result := p.Validate(context.Background(), resource, versioned, params, namespace, celconfig.RuntimeCELCostBudget, nil)
	a := answer{}
	for _, decision := range result.Decisions {
		switch {
		case decision.Evaluation == validating.EvalError:
			a.failed += decision.Message
			a.refused = a.refused || decision.Action == validating.ActionDeny
		case decision.Action == validating.ActionDeny && !a.refused:
			a.refused, a.message = true, decision.Message
		}
	}
	return a
}
