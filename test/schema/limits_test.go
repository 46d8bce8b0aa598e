// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/plan/plantest"
)

// numbered is a name of a size that differs from others in its last characters.
func numbered(size, n int) string { return fmt.Sprintf("%0*d", size, n) }

// bigApp asks for as many redirect URIs, twice, and scopes.
func bigApp(uris, scopes int) *v1alpha1.ConnectedApp {
	a := &v1alpha1.ConnectedApp{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "app"}}
	a.Spec.GrantTypes = []v1alpha1.GrantType{"authorization_code"}
	for i := range uris {
		host := fmt.Sprintf("https://%s.h%d.example.com/", strings.Repeat("a", 63), i)
		uri := v1alpha1.RedirectURI(host + numbered(2000-len(host), i))
		a.Spec.RedirectURIs, a.Spec.PostLogoutRedirectURIs = append(a.Spec.RedirectURIs, uri), append(a.Spec.PostLogoutRedirectURIs, uri)
	}
	for i := range scopes {
		a.Spec.Scopes = append(a.Spec.Scopes, v1alpha1.ScopeAssignment{Scope: numbered(128, i)})
	}
	return a
}

// bigRules list as many hosts and scopes, the last of which are what bigApp wants.
func bigRules(rules, hosts, scopes int) []v1alpha1.AccessRule {
	var list []v1alpha1.AccessRule
	for n := range rules {
		r := plantest.Rule(fmt.Sprintf("rule-%d", n))
		for i := range hosts - 1 {
			r.RedirectHosts = append(r.RedirectHosts, v1alpha1.RedirectHost("*.h"+numbered(60, i)+".example.org"))
		}
		r.RedirectHosts = append(r.RedirectHosts, "*.example.com")
		for i := range scopes - 1 {
			r.Scopes = append(r.Scopes, v1alpha1.AccessScope{Scope: "x" + numbered(120, i) + "*"})
		}
		r.Scopes = append(r.Scopes, v1alpha1.AccessScope{Scope: "0*"})
		list = append(list, r)
	}
	return list
}

// The API server lets a policy cost so much and no more. What is too much is
// admitted, never refused, and the manager decides; what is not is refused here.
func TestWhatIsTooLargeIsLeftToTheManager(t *testing.T) {
	p := current(t)
	for name, row := range map[string]struct {
		uris, scopes, rules, hosts, allowed int
		// redirectsTooMuch and scopesTooMuch tell that these cannot be evaluated.
		redirectsTooMuch, scopesTooMuch bool
	}{
		"the largest app under a usual rule":     {uris: 100, scopes: 1000, rules: 1, hosts: 10, allowed: 10},
		"a large app under the largest rule":     {uris: 20, scopes: 100, rules: 1, hosts: 100, allowed: 200},
		"a usual app under many rules":           {uris: 3, scopes: 10, rules: 100, hosts: 10, allowed: 10},
		"a usual app under ten large rules":      {uris: 3, scopes: 10, rules: 10, hosts: 100, allowed: 100},
		"the most scopes under the largest rule": {uris: 3, scopes: 1000, rules: 1, hosts: 10, allowed: 200, scopesTooMuch: true},
		"the largest app under many large rules": {uris: 100, scopes: 1000, rules: 10, hosts: 100, allowed: 200, redirectsTooMuch: true, scopesTooMuch: true},
	} {
		t.Run(name, func(t *testing.T) {
			server := tokenServer(bigRules(row.rules, row.hosts, row.allowed)...)
			decide := func(change func(*v1alpha1.ConnectedAppSpec)) answer {
				a := bigApp(row.uris, row.scopes)
				change(&a.Spec)
				return p.decide(t, request{app: a, server: server, labels: labels(nil)})
			}
			good := decide(func(*v1alpha1.ConnectedAppSpec) {})
			require.False(t, good.refused, good.message)
			require.Equal(t, row.redirectsTooMuch || row.scopesTooMuch, good.failed != "", good.failed)
			scope := decide(func(s *v1alpha1.ConnectedAppSpec) { s.Scopes[0].Scope = "full" })
			require.Equal(t, !row.scopesTooMuch, scope.refused, scope.failed)
			grant := decide(func(s *v1alpha1.ConnectedAppSpec) { s.GrantTypes = []v1alpha1.GrantType{"password"} })
			require.Equal(t, !row.redirectsTooMuch, grant.refused, grant.failed)
			if grant.refused {
				require.Contains(t, grant.message, "no access rule of ")
				require.NotContains(t, grant.message, "expression")
			}
		})
	}
}
