// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apimachinery/pkg/util/version"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"sigs.k8s.io/yaml"
)

// plurals are the kinds.
var plurals = []string{"connectedapps", "tokenservers", "accesstokens"}

func crd(t testing.TB, plural string) *apiextensions.CustomResourceDefinition {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "config", "crd", "bases", "connectedapps.dev_"+plural+".yaml"))
	require.NoError(t, err)
	var external apiextensionsv1.CustomResourceDefinition
	require.NoError(t, yaml.Unmarshal(data, &external))
	apiextensionsv1.SetObjectDefaults_CustomResourceDefinition(&external)
	internal := &apiextensions.CustomResourceDefinition{}
	require.NoError(t, apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&external, internal, nil))
	return internal
}

// structural is the schema of a kind as the API server reads it.
func structural(t testing.TB, plural string) *schema.Structural {
	t.Helper()
	definition := crd(t, plural).Spec
	version := definition.Versions[0].Schema
	if definition.Validation != nil {
		version = definition.Validation
	}
	s, err := schema.NewStructural(version.OpenAPIV3Schema)
	require.NoError(t, err)
	require.Empty(t, schema.ValidateStructural(nil, s), plural)
	return s
}

// validator runs the CEL rules of a kind's spec, as the API server does, on a
// value and its place in the spec.
func validator(t testing.TB, plural string) func(t *testing.T, spec map[string]any) []string {
	t.Helper()
	spec := structural(t, plural).Properties["spec"]
	rules := cel.NewValidator(&spec, false, celconfig.PerCallLimit)
	return func(t *testing.T, object map[string]any) []string {
		t.Helper()
		errs, _ := rules.Validate(t.Context(), nil, &spec, object, nil, math.MaxInt64)
		var texts []string
		for _, err := range errs {
			texts = append(texts, err.Error())
		}
		return texts
	}
}

// The rules must stay within what the API server lets them cost.
func TestTheAPIServerTakesTheCRDs(t *testing.T) {
	for _, plural := range plurals {
		definition := crd(t, plural)
		definition.Status.StoredVersions = []string{"v1alpha1"}
		require.Empty(t, validation.ValidateCustomResourceDefinition(t.Context(), definition), plural)
	}
}

// oldest is the oldest API server that the CRDs are for.
var oldest = version.MajorMinor(1, 33)

// compile compiles the rules of a schema, and of all below it, as an API server of
// a version does for a CRD that is new to it, and returns what it refuses.
func compile(t *testing.T, s *schema.Structural, path string, of *version.Version) (rules int, refused []string) {
	t.Helper()
	isRoot := !strings.Contains(path, ".")
	results, err := cel.Compile(s, model.SchemaDeclType(s, isRoot || s.XEmbeddedResource), celconfig.PerCallLimit,
		environment.MustBaseEnvSet(of), cel.NewExpressionsEnvLoader())
	if err != nil {
		refused = append(refused, path+": "+err.Error())
	}
	for i, result := range results {
		rules++
		if result.Error != nil {
			refused = append(refused, path+": "+s.XValidations[i].Rule+": "+result.Error.Detail)
		}
	}
	below := map[string]*schema.Structural{}
	for name := range s.Properties {
		property := s.Properties[name]
		below["."+name] = &property
	}
	if s.Items != nil {
		below["[]"] = s.Items
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Structural != nil {
		below["{}"] = s.AdditionalProperties.Structural
	}
	for name, child := range below {
		n, more := compile(t, child, path+name, of)
		rules, refused = rules+n, append(refused, more...)
	}
	return rules, refused
}

// A rule may use only what the oldest API server knows, not what the tests' own
// does.
func TestTheOldestAPIServerTakesTheRules(t *testing.T) {
	for plural, least := range map[string]int{"connectedapps": 30, "tokenservers": 5, "accesstokens": 5} {
		rules, refused := compile(t, structural(t, plural), plural, oldest)
		require.Empty(t, refused)
		require.GreaterOrEqual(t, rules, least, "the rules of %s were not found", plural)
	}
}

func TestARuleOfANewerAPIServerIsRefused(t *testing.T) {
	s := structural(t, "connectedapps")
	spec := s.Properties["spec"]
	spec.XValidations = append(spec.XValidations, apiextensionsv1.ValidationRule{Rule: "self.grantTypes.distinct().size() > 0"})
	s.Properties["spec"] = spec
	_, refused := compile(t, s, "connectedapps", oldest)
	require.Len(t, refused, 1)
	require.Contains(t, refused[0], "connectedapps.spec: self.grantTypes.distinct()")
	_, refused = compile(t, s, "connectedapps", version.MajorMinor(1, 37))
	require.Empty(t, refused)
}
