// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/internal/testenv"
)

func schemas(t *testing.T) map[string]apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(testenv.ModuleRoot(), "config", "crd", "bases", "*.yaml"))
	require.NoError(t, err)
	require.Len(t, files, 3)
	crds := map[string]apiextensionsv1.CustomResourceDefinition{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		var crd apiextensionsv1.CustomResourceDefinition
		require.NoError(t, yaml.Unmarshal(data, &crd))
		crds[crd.Spec.Names.Kind] = crd
	}
	return crds
}

// walk calls visit for every field below spec and status, with its path.
func walk(path string, schema apiextensionsv1.JSONSchemaProps, visit func(path string, schema apiextensionsv1.JSONSchemaProps)) {
	visit(path, schema)
	for name, property := range schema.Properties {
		walk(path+"."+name, property, visit)
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		walk(path+"[]", *schema.Items.Schema, visit)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		walk(path+"{}", *schema.AdditionalProperties.Schema, visit)
	}
}

func TestEveryFieldIsBoundedAndDocumented(t *testing.T) {
	for kind, crd := range schemas(t) {
		root := crd.Spec.Versions[0].Schema.OpenAPIV3Schema
		for _, part := range []string{"spec", "status"} {
			walk(kind+"."+part, root.Properties[part], func(path string, s apiextensionsv1.JSONSchemaProps) {
				switch s.Type {
				case "array":
					require.NotNil(t, s.MaxItems, "%s has no maximum of items", path)
					require.NotNil(t, s.XListType, "%s does not say how lists of two writers merge", path)
				case "string":
					isDuration := slices.ContainsFunc(s.XValidations, func(r apiextensionsv1.ValidationRule) bool { return strings.Contains(r.Rule, "duration(self) <=") })
					bounded := s.MaxLength != nil || s.Enum != nil || s.Format == "date-time" || isDuration
					require.True(t, bounded, "%s has no maximum length", path)
				case "object":
					if s.AdditionalProperties != nil {
						require.NotNil(t, s.MaxProperties, "%s has no maximum of members", path)
					}
				}
				isElement := strings.HasSuffix(path, "[]") || strings.HasSuffix(path, "{}")
				require.True(t, isElement || s.Description != "", "kubectl explain has nothing to say about %s", path)
				require.True(t, s.Default == nil || part == "status", "%s has a default, which shows as drift", path)
			})
		}
	}
}

func TestKindsAreEasyToList(t *testing.T) {
	for kind, want := range map[string]string{"TokenServer": "toks", "ConnectedApp": "capp", "AccessToken": "atok"} {
		crd := schemas(t)[kind]
		require.Equal(t, []string{want}, crd.Spec.Names.ShortNames)
		require.Equal(t, []string{"capps"}, crd.Spec.Names.Categories)
		var columns []string
		for _, c := range crd.Spec.Versions[0].AdditionalPrinterColumns {
			columns = append(columns, c.Name)
		}
		require.Subset(t, columns, []string{"Ready", "Reason", "Age"}, kind)
	}
}
