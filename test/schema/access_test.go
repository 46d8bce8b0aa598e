// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/cel/environment"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/plan/plantest"
)

const namespace = "payments"

// current is the access policy as the API server of the tests runs it.
func current(t testing.TB) policy {
	t.Helper()
	p := compilePolicy(t, accessPolicy(t), version.MajorMinor(1, 37), environment.StoredExpressions)
	require.Empty(t, p.Problems)
	return p
}

// tokenServer is the TokenServer default with access rules.
func tokenServer(rules ...v1alpha1.AccessRule) *v1alpha1.TokenServer {
	return &v1alpha1.TokenServer{
		ObjectMeta: metav1.ObjectMeta{Name: "default"},
		Spec:       v1alpha1.TokenServerSpec{Access: rules},
		Status:     v1alpha1.TokenServerStatus{OrganizationID: plantest.OrganizationID},
	}
}

// labels are those of the namespace, with the one that every namespace has.
func labels(more map[string]string) map[string]string {
	all := map[string]string{"kubernetes.io/metadata.name": namespace}
	maps.Copy(all, more)
	return all
}

// An API server compiles new expressions by what the release before it knows, so
// that the oldest one that is supported knows no more than this.
func TestTheOldestAPIServerTakesThePolicy(t *testing.T) {
	beforeOldest := version.MajorMinor(1, 32)
	require.Empty(t, compilePolicy(t, accessPolicy(t), beforeOldest, environment.NewExpressions).Problems)
	newer := accessPolicy(t)
	newer.Spec.Validations[0].Expression = "object.spec.grantTypes.distinct().size() > 0"
	require.Len(t, compilePolicy(t, newer, beforeOldest, environment.NewExpressions).Problems, 1)
}

func TestThePolicyDecidesAsThePlanDoes(t *testing.T) {
	p, check := current(t), validator(t, "connectedapps")
	for _, row := range plantest.Requests() {
		t.Run(row.Name, func(t *testing.T) {
			app := row.App(namespace)
			if row.Schema != "" {
				return // test/admission asks the API server, which has all of the schema
			}
			require.Empty(t, check(t, untyped(t, app).Object["spec"].(map[string]any)))
			got := p.decide(t, request{app: app, server: tokenServer(row.Rules...), labels: labels(row.Labels)})
			require.Empty(t, got.failed)
			require.Equal(t, row.Allowed, !got.refused, got.message)
		})
	}
}
