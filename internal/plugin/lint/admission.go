// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"fmt"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apiserver/pkg/cel/environment"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/config/admission"
)

// namePolicy is an admission policy that asks for nothing but the object.
type namePolicy struct {
	variables   []variable
	validations []admissionCheck
}

type variable struct {
	name    string
	program cel.Program
}

// admissionCheck is true of what is admitted; message says what is wrong with the rest.
type admissionCheck struct{ check, message cel.Program }

// reservedNames is config/admission/reserved_names.yaml.
var reservedNames = sync.OnceValues(func() (*namePolicy, error) {
	var p admissionv1.ValidatingAdmissionPolicy
	if err := yaml.Unmarshal(parts(admission.ReservedNames)[0].text, &p); err != nil {
		return nil, err
	}
	env, err := environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()).StoredExpressionsEnv().Extend(
		cel.Variable("object", cel.DynType), cel.Variable("variables", cel.MapType(cel.StringType, cel.DynType)))
	if err != nil {
		return nil, err
	}
	compile := func(expression string) (cel.Program, error) {
		ast, issues := env.Compile(expression)
		if issues.Err() != nil {
			return nil, issues.Err()
		}
		return env.Program(ast)
	}
	compiled := &namePolicy{}
	for _, v := range p.Spec.Variables {
		program, err := compile(v.Expression)
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", v.Name, err)
		}
		compiled.variables = append(compiled.variables, variable{v.Name, program})
	}
	for _, v := range p.Spec.Validations {
		var c admissionCheck
		if c.check, err = compile(v.Expression); err != nil {
			return nil, err
		}
		if c.message, err = compile(v.MessageExpression); err != nil {
			return nil, err
		}
		compiled.validations = append(compiled.validations, c)
	}
	return compiled, nil
})

// refusals are the messages of the checks that an object does not pass.
func (p *namePolicy) refusals(object map[string]any) ([]string, error) {
	variables := map[string]any{}
	in := map[string]any{"object": object, "variables": variables}
	for _, v := range p.variables {
		value, _, err := v.program.Eval(in)
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", v.name, err)
		}
		variables[v.name] = value
	}
	var messages []string
	for _, c := range p.validations {
		admitted, _, err := c.check.Eval(in)
		if err != nil {
			return nil, err
		}
		if admitted == types.True {
			continue
		}
		message, _, err := c.message.Eval(in)
		if err != nil {
			return nil, err
		}
		messages = append(messages, fmt.Sprint(message.Value()))
	}
	return messages, nil
}

// reserved refuses what takes the place of a Secret of the bundled token server.
func (in *inputs) reserved(o *object) error {
	if o.refused || o.kind == "TokenServer" || o.meta.Namespace != in.SystemNamespace {
		return nil
	}
	p, err := reservedNames()
	if err != nil {
		return fmt.Errorf("reading the admission policy: %w", err)
	}
	messages, err := p.refusals(o.object)
	if err != nil {
		return fmt.Errorf("judging the name of the Secret of %s %s: %w", o.kind, o.meta.Name, err)
	}
	for _, message := range messages {
		in.add(o, Error, RuleReservedName, "spec", message)
		o.refused = true
	}
	return nil
}
