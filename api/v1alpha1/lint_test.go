// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

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
	status, ok := answer.(apierrors.APIStatus) //nolint:errorlint // as the client returns it
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
