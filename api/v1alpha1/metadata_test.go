// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// withMetadata is an object of a kind that makes a Secret with such labels and
// annotations.
func withMetadata(t *testing.T, kind string, labels, annotations map[string]string) *unstructured.Unstructured {
	t.Helper()
	o, path := manifest(t, kind, "app", `{grantTypes: [client_credentials], credentials: {type: Secret}}`), []string{"spec", "credentials", "secret", "metadata"}
	if kind == "AccessToken" {
		o, path = manifest(t, kind, "token", `connectedAppRef: {name: app}`), []string{"spec", "secret", "metadata"}
	}
	for name, value := range map[string]map[string]string{"labels": labels, "annotations": annotations} {
		if value != nil {
			require.NoError(t, unstructured.SetNestedStringMap(o.Object, value, append(path, name)...))
		}
	}
	return o
}

// What the API server would refuse of a Secret is refused of the object that asks
// for it, where its author sees it, and nothing else is.
func TestMetadataThatASecretDoesNotTake(t *testing.T) {
	long := func(n int) string { return strings.Repeat("a", n) }
	domain := func(n int) string { return strings.Repeat("a.", n/2)[:n-1] + "z" }
	for name, row := range map[string]struct {
		key, value string
		refused    bool
	}{
		"a name":                              {key: "team", value: "payments"},
		"a name with all that may be in it":   {key: "a-B_c.9", value: "A-b_c.9"},
		"an empty value":                      {key: "team"},
		"a name with a prefix":                {key: "example.com/Team", value: "x"},
		"a name of 63 characters":             {key: long(63), value: "x"},
		"a name of 64 characters":             {key: long(64), value: "x", refused: true},
		"a prefix of 253 characters":          {key: domain(253) + "/a", value: "x"},
		"a prefix of 254 characters":          {key: domain(254) + "/a", value: "x", refused: true},
		"a name of 64 characters in a prefix": {key: "example.com/" + long(64), value: "x", refused: true},
		"a prefix with two dots":              {key: "example..com/a", value: "x", refused: true},
		"a prefix with a hyphen at the end":   {key: "example-.com/a", value: "x", refused: true},
		"a prefix with a dot at the end":      {key: "example.com./a", value: "x", refused: true},
		"an empty prefix":                     {key: "/a", value: "x", refused: true},
		"two prefixes":                        {key: "example.com/a/b", value: "x", refused: true},
		"a prefix without a name":             {key: "example.com/", value: "x", refused: true},
		"an empty name":                       {key: "", value: "x", refused: true},
		"a name with a space":                 {key: "a b", value: "x", refused: true},
		"a name with a line feed":             {key: "a\n", value: "x", refused: true},
		"a name that begins with a hyphen":    {key: "-a", value: "x", refused: true},
		"a name beyond ASCII":                 {key: "grüße", value: "x", refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			metadata := map[string]string{row.key: row.value}
			for _, where := range []struct{ labels, annotations map[string]string }{{labels: metadata}, {annotations: metadata}} {
				secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: "default", Labels: where.labels, Annotations: where.annotations}}
				require.Equal(t, row.refused, plane.Client.Create(t.Context(), secret, client.DryRunAll) != nil, "the row is wrong about Secrets")
				for _, kind := range []string{"ConnectedApp", "AccessToken"} {
					err := create(t, withMetadata(t, kind, where.labels, where.annotations))
					if !row.refused {
						require.NoError(t, err)
						continue
					}
					require.ErrorContains(t, err, "secret.metadata.")
					require.ErrorContains(t, err, "at most 63 letters, digits, '-', '_' and '.'")
				}
			}
		})
	}
}

func TestLabelValuesThatASecretDoesNotTake(t *testing.T) {
	for value, says := range map[string]string{
		strings.Repeat("a", 64): "may not be more than 63", "x y": "must be valid label names and values", "-x": "must be valid label names and values",
		"x.": "must be valid label names and values", "grüße": "must be valid label names and values", "x\n": "must be valid label names and values",
	} {
		require.ErrorContains(t, create(t, withMetadata(t, "ConnectedApp", map[string]string{"a": value}, nil)), says, "%q", value)
	}
	require.NoError(t, create(t, withMetadata(t, "ConnectedApp", map[string]string{"a": strings.Repeat("a", 63)}, nil)))
	require.NoError(t, create(t, withMetadata(t, "ConnectedApp", nil, map[string]string{"a": "any text: \n grüße"})))
}

// The API server counts bytes, the schema characters.
func TestAnnotationsThatAreTooLargeForASecret(t *testing.T) {
	annotations := func(n int, letter string) map[string]string {
		m := map[string]string{}
		for i := range n {
			m[fmt.Sprintf("a%d", i)] = strings.Repeat(letter, 4096)
		}
		return m
	}
	for _, kind := range []string{"ConnectedApp", "AccessToken"} {
		require.NoError(t, create(t, withMetadata(t, kind, nil, annotations(32, "a"))), "all that the schema lets through in ASCII")
		large := annotations(32, "世")
		err := create(t, withMetadata(t, kind, nil, large))
		require.ErrorContains(t, err, "secret.metadata.annotations")
		require.ErrorContains(t, err, "must have at most 192 KiB in all")

		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: "default", Annotations: large}}
		require.ErrorContains(t, plane.Client.Create(t.Context(), secret, client.DryRunAll), "may not be more than 262144 bytes")
		fits := annotations(15, "世")
		require.NoError(t, create(t, withMetadata(t, kind, nil, maps.Clone(fits))))
	}
}
