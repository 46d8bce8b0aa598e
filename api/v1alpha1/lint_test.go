// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/plugin/lint"
)

// keyInValue is what the API server repeats, and lint does not.
var keyInValue = regexp.MustCompile(`"[^"]*PRIVATE KEY[^"]*": `)

// requireLintAgrees fails unless kubectl connectedapp lint says about a manifest
// what the API server said: all tests of manifests are tests of it as well.
func requireLintAgrees(t *testing.T, o *unstructured.Unstructured, answer error) {
	t.Helper()
	manifest, err := yaml.Marshal(o.Object)
	require.NoError(t, err)
	report, err := lint.Check(t.Context(), []lint.File{{Name: "a.yaml", Data: manifest}}, lint.Options{Namespace: "default"})
	require.NoError(t, err)
	var found []string
	for _, f := range report.Findings {
		if f.Severity == lint.Error {
			found = append(found, f.Field+": "+f.Message)
		}
	}
	if answer == nil {
		require.Empty(t, found, "the API server takes it")
		return
	}
	require.NotEmpty(t, found, "the API server refuses it: %v", answer)
	status, ok := answer.(apierrors.APIStatus)
	require.True(t, ok, answer)
	if !apierrors.IsInvalid(answer) {
		// It was refused before it was validated, for its fields.
		for _, f := range report.Findings {
			if f.Rule == lint.RuleUnknownField {
				require.Contains(t, answer.Error(), fmt.Sprintf("unknown field %q", f.Field))
			}
		}
		require.Equal(t, strings.Count(answer.Error(), "unknown field"), strings.Count(strings.Join(found, "\n"), "unknown field"), answer)
		return
	}
	var causes []string
	for _, cause := range status.Status().Details.Causes {
		if cause.Field != "<nil>" { // that rules were not run
			causes = append(causes, cause.Field+": "+keyInValue.ReplaceAllString(cause.Message, ""))
		}
	}
	slices.Sort(causes)
	slices.Sort(found)
	require.Equal(t, slices.Compact(causes), slices.Compact(found))
}

// Shapes that no table of specs has.
func TestLintReadsOddObjectsAsTheAPIServerDoes(t *testing.T) {
	const spec = "spec: {grantTypes: [client_credentials]}"
	for name, text := range map[string]string{
		"no spec":                      "metadata: {name: a}",
		"a spec of nothing":            "metadata: {name: a}\nspec:",
		"a spec that is a text":        "metadata: {name: a}\nspec: x",
		"a field of nothing":           "metadata: {name: a}\nspec: {grantTypes: [client_credentials], scopes: , clientName: }",
		"an item of nothing":           "metadata: {name: a}\nspec: {grantTypes: [client_credentials], scopes: [null]}",
		"a field beside the spec":      "metadata: {name: a}\n" + spec + "\nextra: {a: b}",
		"a status":                     "metadata: {name: a}\n" + spec + "\nstatus: {observedGeneration: 5}",
		"a status of another shape":    "metadata: {name: a}\n" + spec + "\nstatus: {clientID: 5, other: a}",
		"no metadata":                  spec,
		"metadata that is a text":      "metadata: x\n" + spec,
		"no name":                      "metadata: {labels: {a: b}}\n" + spec,
		"a name to be made":            "metadata: {generateName: a-}\n" + spec,
		"a name that is none":          "metadata: {name: A_b}\n" + spec,
		"a name with a dot":            "metadata: {name: a.b}\n" + spec,
		"a long name":                  "metadata: {name: " + strings.Repeat("a", 253) + "}\n" + spec,
		"a name that is too long":      "metadata: {name: " + strings.Repeat("a", 254) + "}\n" + spec,
		"a label that is a number":     "metadata: {name: a, labels: {a: 5}}\n" + spec,
		"a label that is none":         "metadata: {name: a, labels: {a b: c, d: e f}}\n" + spec,
		"an annotation that is none":   "metadata: {name: a, annotations: {a b: c}}\n" + spec,
		"annotations that are a list":  "metadata: {name: a, annotations: [a]}\n" + spec,
		"an unknown field of metadata": "metadata: {name: a, label: {a: b}}\n" + spec,
		"an owner that is none":        "metadata: {name: a, ownerReferences: [{kind: A}]}\n" + spec,
		"a finalizer that is none":     "metadata: {name: a, finalizers: [a b]}\n" + spec,
	} {
		t.Run(name, func(t *testing.T) {
			o := &unstructured.Unstructured{}
			require.NoError(t, yaml.Unmarshal([]byte(text), &o.Object))
			o.Object["apiVersion"], o.Object["kind"] = "connectedapps.dev/v1alpha1", "ConnectedApp"
			if meta, ok := o.Object["metadata"].(map[string]any); ok {
				meta["namespace"] = "default"
			}
			// A client that reads objects would refuse some before they are sent.
			body, err := json.Marshal(o.Object)
			require.NoError(t, err)
			requireLintAgrees(t, o, post(t, "application/json", body))
		})
	}
}

// post creates an object as its text is.
func post(t *testing.T, contentType string, body []byte) error {
	t.Helper()
	config := rest.CopyConfig(plane.Config)
	config.GroupVersion, config.APIPath = &v1alpha1.GroupVersion, "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(plane.Scheme).WithoutConversion()
	api, err := rest.RESTClientFor(config)
	require.NoError(t, err)
	return api.Post().Namespace("default").Resource("connectedapps").Param("dryRun", "All").Param("fieldValidation", "Strict").
		SetHeader("Content-Type", contentType).Body(body).Do(t.Context()).Error()
}

// Of a field that is written twice only the text tells, which kubectl does not send.
func TestAFieldThatIsWrittenTwiceIsRefused(t *testing.T) {
	const text = "apiVersion: connectedapps.dev/v1alpha1\nkind: ConnectedApp\nmetadata: {name: a}\n" +
		"spec:\n  grantTypes: [client_credentials]\n  grantTypes: [client_credentials]\n"
	require.ErrorContains(t, post(t, "application/yaml", []byte(text)), `line 6: key "grantTypes" already set in map`)
	report, err := lint.Check(t.Context(), []lint.File{{Name: "a.yaml", Data: []byte(text)}}, lint.Options{Namespace: "default"})
	require.NoError(t, err)
	require.Len(t, report.Findings, 1)
	require.Equal(t, lint.RuleDuplicateField, report.Findings[0].Rule)
	require.Equal(t, 6, report.Findings[0].Line)
}
