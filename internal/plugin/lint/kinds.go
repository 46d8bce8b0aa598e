// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/config/crd"
)

// kind judges the objects of one kind as the API server does.
type kind struct {
	namespaced bool
	schema     *schema.Structural
	validator  validation.SchemaValidator
	rules      *cel.Validator
}

// kinds are ours, by name. Making them takes a moment.
var kinds = sync.OnceValues(func() (map[string]*kind, error) {
	files, err := crd.Bases.ReadDir("bases")
	if err != nil {
		return nil, err
	}
	made := map[string]*kind{}
	for _, file := range files {
		data, err := crd.Bases.ReadFile("bases/" + file.Name())
		if err != nil {
			return nil, err
		}
		name, k, err := kindOf(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file.Name(), err)
		}
		made[name] = k
	}
	return made, nil
})

func kindOf(data []byte) (name string, k *kind, err error) {
	var external apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(data, &external); err != nil {
		return "", nil, err
	}
	apiextensionsv1.SetObjectDefaults_CustomResourceDefinition(&external)
	var definition apiextensions.CustomResourceDefinition
	if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&external, &definition, nil); err != nil {
		return "", nil, err
	}
	version := definition.Spec.Versions[0].Schema
	if definition.Spec.Validation != nil { // what all versions have in common
		version = definition.Spec.Validation
	}
	k = &kind{namespaced: definition.Spec.Scope == apiextensions.NamespaceScoped}
	if k.schema, err = schema.NewStructural(version.OpenAPIV3Schema); err != nil {
		return "", nil, err
	}
	if k.validator, _, err = validation.NewSchemaValidator(version.OpenAPIV3Schema); err != nil {
		return "", nil, err
	}
	k.rules = cel.NewValidator(k.schema, true, celconfig.PerCallLimit)
	return definition.Spec.Names.Kind, k, nil
}

// fault is something that the API server refuses an object for.
type fault struct {
	rule  string
	field string
	text  string
}

// judge is what the API server refuses an object for that is being created, by a
// client that is strict about unknown fields, as kubectl is. The object becomes
// what the API server makes of it.
func (k *kind) judge(ctx context.Context, object map[string]any, namespace string) []fault {
	meta, _, unknown, err := objectmeta.GetObjectMetaWithOptions(object, objectmeta.ObjectMetaOptions{ReturnUnknownFieldPaths: true})
	if err != nil {
		return []fault{{RuleMetadata, "metadata", err.Error()}}
	}
	unknown = append(unknown, pruning.PruneWithOptions(object, k.schema, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})...)
	var faults []fault
	for _, path := range unknown {
		faults = append(faults, fault{RuleUnknownField, path, "unknown field"})
	}
	defaulting.PruneNonNullableNullsWithoutDefaults(object, k.schema)
	defaulting.Default(object, k.schema)
	delete(object, "status") // nobody sets it with the object
	if meta == nil {
		meta = &metav1.ObjectMeta{}
	}
	k.complete(meta, namespace)
	if err := objectmeta.SetObjectMeta(object, meta); err != nil {
		return append(faults, fault{RuleMetadata, "metadata", err.Error()})
	}
	return append(faults, k.validate(ctx, object, meta)...)
}

// complete fills in what the API server does before it looks.
func (k *kind) complete(meta *metav1.ObjectMeta, namespace string) {
	switch {
	case !k.namespaced:
		meta.Namespace = ""
	case meta.Namespace == "":
		meta.Namespace = namespace
	}
	if meta.Name == "" && meta.GenerateName != "" {
		meta.Name = meta.GenerateName + "xxxxx"
	}
}

// validate does what the strategy for custom resources does
// (k8s.io/apiextensions-apiserver/pkg/registry/customresource), in its order.
func (k *kind) validate(ctx context.Context, object map[string]any, meta *metav1.ObjectMeta) []fault {
	errs := apivalidation.ValidateObjectMeta(meta, k.namespaced, apivalidation.NameIsDNSSubdomain, field.NewPath("metadata"))
	faults := faultsOf(RuleMetadata, errs)
	schemaErrs := validation.ValidateCustomResource(nil, object, k.validator)
	schemaErrs = append(schemaErrs, objectmeta.Validate(ctx, nil, object, k.schema, false)...)
	schemaErrs = append(schemaErrs, listtype.ValidateListSetsAndMaps(nil, k.schema, object)...)
	faults = append(faults, faultsOf(RuleSchema, schemaErrs)...)
	for _, err := range append(errs, schemaErrs...) {
		switch err.Type { //nolint:exhaustive // rules do not run on these, since they could not be sure of what they read
		case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid:
			return faults
		}
	}
	ruleErrs, _ := k.rules.Validate(ctx, nil, k.schema, object, nil, celconfig.RuntimeCELCostBudget)
	return append(faults, faultsOf(RuleCEL, ruleErrs)...)
}

func faultsOf(rule string, errs field.ErrorList) []fault {
	var faults []fault
	for _, err := range errs {
		text := err.ErrorBody()
		if strings.Contains(text, "PRIVATE KEY") {
			text = fmt.Sprintf("%s: %s", err.Type, err.Detail) // the value is nobody's business
		}
		faults = append(faults, fault{rule, err.Field, text})
	}
	return faults
}
