// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"maps"
	"strings"
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
	for _, file := range []string{"access.yaml", "injection.yaml", "reserved_names.yaml"} {
		require.Empty(t, compilePolicy(t, policyIn(t, file), beforeOldest, environment.NewExpressions).Problems, file)
	}
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

// What stays as it is, or goes, is nobody's new wish: rules that became stricter
// must not keep finalizers, labels and annotations from being changed.
func TestWhatThePolicyDoesNotJudge(t *testing.T) {
	p := current(t)
	app := func(change func(*v1alpha1.ConnectedApp)) *v1alpha1.ConnectedApp {
		a := plantest.Request{Spec: v1alpha1.ConnectedAppSpec{GrantTypes: []v1alpha1.GrantType{"password"}}}.App(namespace)
		a.Finalizers = []string{v1alpha1.Finalizer}
		change(a)
		return a
	}
	same := func(*v1alpha1.ConnectedApp) {}
	elsewhere := tokenServer()
	elsewhere.Name = "elsewhere"
	for name, row := range map[string]struct {
		request
		refused bool
	}{
		"a new app":                {request{app: app(same)}, true},
		"a changed spec":           {request{app: app(func(a *v1alpha1.ConnectedApp) { a.Spec.ClientName = "x" }), old: app(same)}, true},
		"an app of another server": {request: request{app: app(same), server: elsewhere}},
		"an app that names its": {request{app: app(func(a *v1alpha1.ConnectedApp) {
			a.Spec.TokenServerRef = &v1alpha1.TokenServerReference{Name: "elsewhere"}
		}), server: elsewhere}, true},
		"an app that names another": {request: request{app: app(func(a *v1alpha1.ConnectedApp) {
			a.Spec.TokenServerRef = &v1alpha1.TokenServerReference{Name: "elsewhere"}
		})}},
		"a label":                     {request: request{app: app(func(a *v1alpha1.ConnectedApp) { a.Labels = map[string]string{"a": "b"} }), old: app(same)}},
		"a finalizer that goes":       {request: request{app: app(func(a *v1alpha1.ConnectedApp) { a.Finalizers = nil }), old: app(same)}},
		"a change while it goes":      {request: request{app: app(func(a *v1alpha1.ConnectedApp) { a.DeletionTimestamp = new(metav1.Now()); a.Spec.ClientName = "x" }), old: app(same)}},
		"a change of the status only": {request: request{app: app(func(a *v1alpha1.ConnectedApp) { a.Status.ClientID = "x" }), old: app(same)}},
	} {
		t.Run(name, func(t *testing.T) {
			row.labels = labels(nil)
			if row.server == nil {
				row.server = tokenServer()
			}
			got := p.decide(t, row.request)
			require.Empty(t, got.failed)
			require.Equal(t, row.refused, got.refused, got.message)
		})
	}
}

// The sentences that app teams read, each word of them.
func TestWhatThePolicySays(t *testing.T) {
	const (
		head = "no access rule of TokenServer default allows all of the app; the nearest, payments, does not allow "
		tail = "; ask for less in the spec, or ask the platform team to add it to the rule"
	)
	p := current(t)
	payments := v1alpha1.AccessRule{
		Name: "payments", GrantTypes: []v1alpha1.GrantType{"client_credentials", "authorization_code", "urn:ietf:params:oauth:grant-type:jwt-bearer"},
		Scopes: []v1alpha1.AccessScope{{Scope: "profile"}, {Scope: "view:*"}}, RedirectHosts: []v1alpha1.RedirectHost{"*.example.com"},
		DeletionPolicies: []v1alpha1.DeletionPolicy{"Delete"},
	}
	itself := func(scopes ...v1alpha1.ScopeAssignment) v1alpha1.ConnectedAppSpec {
		return v1alpha1.ConnectedAppSpec{GrantTypes: []v1alpha1.GrantType{"client_credentials"}, Scopes: scopes}
	}
	for name, row := range map[string]struct {
		spec  v1alpha1.ConnectedAppSpec
		rules []v1alpha1.AccessRule
		says  string
	}{
		"no rules": {itself(), nil, "TokenServer default has no access rules, so that no app is allowed; ask the platform team for one that selects namespace payments"},
		"no rule for the namespace": {itself(), []v1alpha1.AccessRule{plantest.Rule("a", func(r *v1alpha1.AccessRule) {
			r.NamespaceSelector.MatchLabels = map[string]v1alpha1.LabelValue{"team": "x"}
		})}, "no access rule of TokenServer default selects namespace payments by its labels; ask the platform team for such a rule or label"},
		"a scope": {itself(v1alpha1.ScopeAssignment{Scope: "full"}), []v1alpha1.AccessRule{payments}, head + "scope full (rule payments allows profile, view:*)" + tail},
		"many scopes": {
			itself(v1alpha1.ScopeAssignment{Scope: "a"}, v1alpha1.ScopeAssignment{Scope: "b"}, v1alpha1.ScopeAssignment{Scope: "c"},
				v1alpha1.ScopeAssignment{Scope: "d"}, v1alpha1.ScopeAssignment{Scope: "e"}), []v1alpha1.AccessRule{payments},
			head + "scopes a, b, c, d and 1 more (rule payments allows profile, view:*)" + tail,
		},
		"a long scope": {itself(v1alpha1.ScopeAssignment{Scope: strings.Repeat("x", 128)}), []v1alpha1.AccessRule{payments}, head + "scope " + strings.Repeat("x", 79) + "… (rule payments allows profile, view:*)" + tail},
		"a context": {
			itself(v1alpha1.ScopeAssignment{Scope: "view:a", OrganizationID: "o", EnvironmentID: "e"}),
			[]v1alpha1.AccessRule{plantest.Rule("payments", func(r *v1alpha1.AccessRule) {
				r.Scopes = []v1alpha1.AccessScope{{Scope: "view:*", OrganizationIDs: []v1alpha1.Identifier{"p", "q"}, EnvironmentIDs: []v1alpha1.Identifier{"f"}}}
			})}, head + "scope view:a (organization o, environment e) (rule payments allows view:* in organization p or q in environment f)" + tail,
		},
		"all at once": {
			v1alpha1.ConnectedAppSpec{
				GrantTypes: []v1alpha1.GrantType{"authorization_code", "password"}, Audience: "everyone", DeletionPolicy: "Orphan",
				RedirectURIs: []v1alpha1.RedirectURI{"https://evil.example/cb"}, Scopes: []v1alpha1.ScopeAssignment{{Scope: "full"}},
				SkipUserConsent: new(true), AssertionsWithoutExpiry: new(true), IdentityProviders: []v1alpha1.Identifier{"corp"},
				Credentials: &v1alpha1.Credentials{Type: v1alpha1.CredentialsServiceAccount, ServiceAccounts: []v1alpha1.ServiceAccountReference{{Name: "default"}}},
			}, []v1alpha1.AccessRule{payments},
			head + "grant type password (rule payments allows client_credentials, authorization_code, urn:ietf:params:oauth:grant-type:jwt-bearer), " +
				"redirect URI https://evil.example/cb (rule payments allows *.example.com), scope full (rule payments allows profile, view:*), " +
				"audience everyone (rule payments allows internal), identity provider corp (rule payments allows none), " +
				"skipUserConsent true (rule payments allows false), assertionsWithoutExpiry true (rule payments allows false), " +
				"deletionPolicy Orphan (rule payments allows Delete), ServiceAccount default (rule payments allows others)" + tail,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := p.decide(t, request{app: plantest.Request{Spec: row.spec}.App(namespace), server: tokenServer(row.rules...), labels: labels(nil)})
			require.True(t, got.refused)
			require.Equal(t, row.says, got.message)
		})
	}
}
