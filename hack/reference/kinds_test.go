// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

const root = "../.."

func crdOf(t *testing.T, plural string) *apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "config/crd/bases/connectedapps.dev_"+plural+".yaml"))
	require.NoError(t, err)
	crd := &apiextensionsv1.CustomResourceDefinition{}
	require.NoError(t, yaml.Unmarshal(data, crd))
	return crd
}

// fields are the paths of all fields below a schema, as a page's headings and rows
// name them, and how often a rule's message is due there.
func fields(path string, s *schema, visit func(object, field string), message func(string)) {
	for _, r := range s.XValidations {
		message(r.Message)
	}
	if s.Items != nil {
		fields(path+"[]", s.Items.Schema, visit, message)
	}
	for name, field := range s.Properties {
		visit(path, name)
		if path != "status" || name != "conditions" {
			fields(path+"."+name, &field, visit, message)
		}
	}
}

func TestEveryFieldAndRuleIsOnThePageOfItsKind(t *testing.T) {
	for _, plural := range []string{"connectedapps", "accesstokens", "tokenservers"} {
		crd, count := crdOf(t, plural), 0
		page, err := kindPage(crd, "")
		require.NoError(t, err)
		sections := map[string]string{}
		for _, section := range strings.Split(page, "\n##")[1:] {
			heading, body, _ := strings.Cut(section, "\n")
			sections[strings.TrimLeft(heading, "# ")] = body
		}
		for part, s := range crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties {
			if part != "spec" && part != "status" {
				continue
			}
			fields(part, &s, func(object, field string) {
				count++
				require.Contains(t, sections[object], "\n| `"+field+"` | ", "%s has no row for %s.%s", plural, object, field)
			}, func(message string) {
				require.Contains(t, sections["Rules"], ": "+message+"\n")
				require.Contains(t, page, text(message))
			})
		}
		require.Greater(t, count, 20)
	}
}

func TestWhatHasNoTextIsRefused(t *testing.T) {
	for name, row := range map[string]struct {
		change func(name *schema)
		says   string
	}{
		"a field without a comment":         {func(name *schema) { name.Description = "" }, "spec.tokenServerRef.name has no comment"},
		"a rule without a message":          {func(name *schema) { name.XValidations = []apiextensionsv1.ValidationRule{{Rule: "true"}} }, "spec.tokenServerRef.name has a rule without a message: true"},
		"an omission that is left to guess": {func(*schema) {}, "spec.tokenServerRef.name: its comment does not say what an omitted field means"},
	} {
		t.Run(name, func(t *testing.T) {
			crd := crdOf(t, "connectedapps")
			spec := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
			reference := spec.Properties["tokenServerRef"]
			field := reference.Properties["name"]
			row.change(&field)
			reference.Properties["name"] = field
			reference.Required = nil
			spec.Properties["tokenServerRef"] = reference
			_, err := kindPage(crd, "")
			require.ErrorContains(t, err, row.says)
		})
	}
}

func TestARowSaysWhatTheAPIServerTakes(t *testing.T) {
	page, err := kindPages(root, filepath.Join(root, "config/crd/bases"))
	require.NoError(t, err)
	app := page["connectedapp.md"]
	require.Contains(t, app, "| `grantTypes` | set of string | required | ")
	require.Contains(t, app, "<br>1 to 5 items<br>each one of `authorization_code`, ")
	require.Contains(t, app, "| `driftPolicy` | string | Repair | `driftPolicy` is Repair, or Report to leave ")
	require.Contains(t, app, "| `refreshGraceSeconds` | integer | as the server has it | `refreshGraceSeconds` is how long a refresh token whose answer was lost can be used again.<br>0 to 3600 |")
	require.Contains(t, app, "| `publicKeys` | list of [object](#specpublickeys) | required with that grant or type, and for nothing else | ")
	require.Contains(t, app, "<br>must be a duration from 1h to 8760h, such as 720h for 30 days: the largest unit is the hour |")
	require.Contains(t, app, "\n- `tokenServerRef`: cannot be changed: ")
	require.Contains(t, app, "\n- `metadata`: metadata.name must have at most 52 characters, ")
	require.Contains(t, app, "\n// spec.clientURI, spec.policyURI, spec.tosURI: must be an absolute http or https address\nself.matches(")
	require.Contains(t, app, "<br>at most 16 items<br>no two of the same kind and name |")
	require.Contains(t, app, "| `conditions` | list of [conditions](conditions.md#connectedapp) | ")
	require.Contains(t, page["tokenserver.md"], "| `matchLabels` | map of string | any | ")
}
