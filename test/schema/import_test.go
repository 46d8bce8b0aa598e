// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apivalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/plan"
	"connectedapps.dev/operator/internal/plugin/importer"
)

// specOf is a kind's spec with all that the API server checks of it.
func specOf(t testing.TB, plural string) func(t *testing.T, spec any) []string {
	t.Helper()
	definition := crd(t, plural).Spec
	whole := definition.Versions[0].Schema
	if definition.Validation != nil {
		whole = definition.Validation
	}
	schema := whole.OpenAPIV3Schema.Properties["spec"]
	open, _, err := apivalidation.NewSchemaValidator(&apiextensions.JSONSchemaProps{Type: schema.Type, Properties: schema.Properties, Required: schema.Required})
	require.NoError(t, err)
	rules := validator(t, plural)
	return func(t *testing.T, spec any) []string {
		t.Helper()
		text, err := json.Marshal(spec)
		require.NoError(t, err)
		object := map[string]any{}
		require.NoError(t, json.Unmarshal(text, &object))
		problems := rules(t, object)
		for _, err := range open.Validate(object).Errors {
			problems = append(problems, err.Error())
		}
		return problems
	}
}

// odd are texts that a member of an export may have, whatever it should have.
var odd = []string{
	"", " ", "*", "false", "true", "openid", "none", "client_credentials", "authorization_code", "password", "private_key_jwt", "client-jwt", "jwt", "+", "-", "##+",
	"https://a.example.com/", "http://localhost:0/", "http://localhost/a", "https://[2001:db8::1]/", "https://[::1]:8443/", "https://u@a.example.com/", "/b", "com.a.b:/x", "x:y",
	"https://A.example.com:99999/", "https://*.example.com/", "https://a_b.example.com/", "https://a.example.com/%zz", "\x00\u202e", "\u2603", "-----BEGIN PRIVATE KEY-----",
	"..", "-", "a-secret-of-sixteen-characters", strings.Repeat("x", 129), strings.Repeat("y", 257), "https://" + strings.Repeat("z.", 1100) + "example.com/", strings.Repeat("w ", 1100),
}

// oddValue is a value that a member may have.
func oddValue(t *rapid.T) any {
	text := rapid.SampledFrom(odd)
	switch rapid.IntRange(0, 6).Draw(t, "type") {
	case 0:
		return rapid.Bool().Draw(t, "flag")
	case 1:
		return rapid.SampledFrom([]any{nil, 0, -1, 1e300, map[string]any{}, map[string]any{"keys": []any{map[string]any{"kty": "EC"}}}, []any{nil, 7}}).Draw(t, "other")
	case 2, 3:
		return rapid.SliceOfN(text, 0, 120).Draw(t, "list")
	}
	return text.Draw(t, "text")
}

// changed puts odd values into an object, and into those in it.
func changed(t *rapid.T, object map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(object)) {
		switch rapid.IntRange(0, 9).Draw(t, key) {
		case 0, 1:
			object[key] = oddValue(t)
		case 2:
			delete(object, key)
		default:
			if inner, ok := object[key].(map[string]any); ok {
				changed(t, inner)
			}
		}
	}
}

// Whatever an export holds, the API server takes the apps and the rules that are made
// of it, and the rules allow the apps.
func TestTheAPIServerTakesWhatIsImported(t *testing.T) {
	apps, servers := specOf(t, "connectedapps"), specOf(t, "tokenservers")
	namespace := plan.Namespace{Labels: map[string]string{corev1.LabelMetadataName: "payments"}}
	for file, source := range map[string]struct {
		clients string
		parse   func([]byte, importer.Options) (*importer.Result, error)
	}{"keycloak.json": {"clients", importer.Keycloak}, "hydra.json": {"items", importer.Hydra}, "dex.yaml": {"staticClients", importer.Dex}} {
		text, err := os.ReadFile(filepath.Join("..", "..", "internal", "plugin", "importer", "testdata", file))
		require.NoError(t, err)
		imports := 0
		rapid.Check(t, func(rt *rapid.T) {
			export := map[string]any{}
			require.NoError(rt, yaml.Unmarshal(text, &export))
			for _, client := range export[source.clients].([]any) {
				changed(rt, client.(map[string]any))
			}
			document, err := json.Marshal(export)
			require.NoError(rt, err)
			o := importer.Options{Namespace: "payments", ExistingSecrets: rapid.Bool().Draw(rt, "existing")}
			r, err := source.parse(document, o)
			require.NoError(rt, err)
			for i := range r.Apps {
				app := r.Apps[i].Manifest
				imports++
				require.Empty(rt, apps(t, app.Spec), "%+v", app.Spec)
				var keys []string
				for _, key := range app.Spec.PublicKeys {
					keys = append(keys, key.PEM)
				}
				verdict := plan.Judge(plan.Desired(app, keys, ""), namespace, r.Access, "org")
				require.True(rt, verdict.Allowed, "%v", verdict.Missing)
			}
			if len(r.Access) > 0 {
				require.Empty(rt, servers(t, v1alpha1.TokenServerSpec{
					URL: "https://id.example.com", Access: r.Access,
					Credentials: v1alpha1.TokenServerCredentials{Type: "Secret", SecretRef: &v1alpha1.SecretReference{Name: "x"}},
				}))
			}
		})
		require.Positive(t, imports)
	}
}
