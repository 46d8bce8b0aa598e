// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/plan"
)

func rule(name string, change ...func(*v1alpha1.AccessRule)) v1alpha1.AccessRule {
	r := v1alpha1.AccessRule{
		Name:       name,
		GrantTypes: []v1alpha1.GrantType{"client_credentials", "authorization_code", "refresh_token"},
		Scopes:     []v1alpha1.AccessScope{{Scope: "profile"}, {Scope: "view:*"}},
	}
	for _, f := range change {
		f(&r)
	}
	return r
}

func TestJudge(t *testing.T) {
	payments := map[string]string{"team": "payments"}
	forPayments := func(r *v1alpha1.AccessRule) {
		r.NamespaceSelector.MatchLabels = map[string]v1alpha1.LabelValue{"team": "payments"}
	}
	redirects := func(hosts ...v1alpha1.RedirectHost) func(*v1alpha1.AccessRule) {
		return func(r *v1alpha1.AccessRule) { r.RedirectHosts = hosts }
	}
	scopes := func(s ...v1alpha1.AccessScope) func(*v1alpha1.AccessRule) {
		return func(r *v1alpha1.AccessRule) { r.Scopes = s }
	}
	web := func(uris ...string) plan.Client {
		return client(func(c *plan.Client) {
			c.GrantTypes, c.RedirectURIs, c.Scopes = []string{"authorization_code"}, uris, nil
		})
	}
	scoped := func(s ...plan.Scope) plan.Client { return client(func(c *plan.Client) { c.Scopes = s }) }
	for name, row := range map[string]struct {
		want    plan.Client
		rules   []v1alpha1.AccessRule
		rule    string
		missing []string
	}{
		"no rule allows nothing": {want: client()},
		"a rule for another namespace allows nothing": {want: client(), rules: []v1alpha1.AccessRule{rule("a", func(r *v1alpha1.AccessRule) {
			r.NamespaceSelector.MatchLabels = map[string]v1alpha1.LabelValue{"team": "x"}
		})}},
		"a rule for the namespace allows":           {want: client(), rules: []v1alpha1.AccessRule{rule("a", forPayments)}, rule: "a"},
		"the empty selector is for every namespace": {want: client(), rules: []v1alpha1.AccessRule{rule("a")}, rule: "a"},
		"an expression selects": {want: client(), rules: []v1alpha1.AccessRule{rule("a", func(r *v1alpha1.AccessRule) {
			r.NamespaceSelector.MatchExpressions = []v1alpha1.NamespaceSelectorRequirement{{Key: "team", Operator: metav1.LabelSelectorOpIn, Values: []v1alpha1.LabelValue{"payments", "b"}}}
		})}, rule: "a"},
		"a selector that makes no sense selects nothing": {want: client(), rules: []v1alpha1.AccessRule{rule("a", func(r *v1alpha1.AccessRule) {
			r.NamespaceSelector.MatchExpressions = []v1alpha1.NamespaceSelectorRequirement{{Key: "team", Operator: "Maybe"}}
		})}},
		"two rules do not add up": {
			want: scoped(plan.Scope{Name: "a"}, plan.Scope{Name: "b"}),
			rules: []v1alpha1.AccessRule{
				rule("a", scopes(v1alpha1.AccessScope{Scope: "a"})), rule("b", scopes(v1alpha1.AccessScope{Scope: "b"})),
			},
			rule: "a", missing: []string{"scope b"},
		},
		"the second rule may allow what the first does not": {
			want: scoped(plan.Scope{Name: "b"}),
			rules: []v1alpha1.AccessRule{
				rule("a", scopes(v1alpha1.AccessScope{Scope: "a"})), rule("b", scopes(v1alpha1.AccessScope{Scope: "b"})),
			},
			rule: "b",
		},
		"a trailing wildcard":                 {want: scoped(plan.Scope{Name: "view:clients"}), rules: []v1alpha1.AccessRule{rule("a")}, rule: "a"},
		"a wildcard is not for what precedes": {want: scoped(plan.Scope{Name: "review:clients"}), rules: []v1alpha1.AccessRule{rule("a")}, rule: "a", missing: []string{"scope review:clients"}},
		"a name without wildcard is exact":    {want: scoped(plan.Scope{Name: "profile2"}), rules: []v1alpha1.AccessRule{rule("a")}, rule: "a", missing: []string{"scope profile2"}},
		"an organization that is listed": {
			want:  scoped(plan.Scope{Name: "a", OrganizationID: "o"}),
			rules: []v1alpha1.AccessRule{rule("a", scopes(v1alpha1.AccessScope{Scope: "a", OrganizationIDs: []v1alpha1.Identifier{"o"}}))}, rule: "a",
		},
		"an organization that is not": {
			want:  scoped(plan.Scope{Name: "a", OrganizationID: "p"}),
			rules: []v1alpha1.AccessRule{rule("a", scopes(v1alpha1.AccessScope{Scope: "a", OrganizationIDs: []v1alpha1.Identifier{"o"}}))},
			rule:  "a", missing: []string{"scope a (organization p)"},
		},
		"no organization means the app's own": {
			want:  scoped(plan.Scope{Name: "a"}),
			rules: []v1alpha1.AccessRule{rule("a", scopes(v1alpha1.AccessScope{Scope: "a", OrganizationIDs: []v1alpha1.Identifier{"own"}}))}, rule: "a",
		},
		"an environment that is missing": {
			want:  scoped(plan.Scope{Name: "a", OrganizationID: "o"}),
			rules: []v1alpha1.AccessRule{rule("a", scopes(v1alpha1.AccessScope{Scope: "a", EnvironmentIDs: []v1alpha1.Identifier{"e"}}))},
			rule:  "a", missing: []string{"scope a (organization o)"},
		},
		"an exact host":                          {want: web("https://example.com/cb"), rules: []v1alpha1.AccessRule{rule("a", redirects("example.com"))}, rule: "a"},
		"a host is compared without its case":    {want: web("https://EXAMPLE.com:8443/cb"), rules: []v1alpha1.AccessRule{rule("a", redirects("example.com"))}, rule: "a"},
		"a wildcard is one label":                {want: web("https://a.example.com/"), rules: []v1alpha1.AccessRule{rule("a", redirects("*.example.com"))}, rule: "a"},
		"a wildcard is several labels":           {want: web("https://a.b.example.com/"), rules: []v1alpha1.AccessRule{rule("a", redirects("*.example.com"))}, rule: "a"},
		"a wildcard is not no label":             {want: web("https://example.com/"), rules: []v1alpha1.AccessRule{rule("a", redirects("*.example.com"))}, rule: "a", missing: []string{"redirect URI https://example.com/ (redirectHosts has no example.com)"}},
		"a wildcard is not another domain":       {want: web("https://evilexample.com/"), rules: []v1alpha1.AccessRule{rule("a", redirects("*.example.com"))}, rule: "a", missing: []string{"redirect URI https://evilexample.com/ (redirectHosts has no evilexample.com)"}},
		"a host in the path does not count":      {want: web("https://evil.example/example.com"), rules: []v1alpha1.AccessRule{rule("a", redirects("example.com"))}, rule: "a", missing: []string{"redirect URI https://evil.example/example.com (redirectHosts has no evil.example)"}},
		"a host before an at sign does not":      {want: web("https://example.com@evil.example/"), rules: []v1alpha1.AccessRule{rule("a", redirects("example.com"))}, rule: "a", missing: []string{"redirect URI https://example.com@evil.example/ (must have a host name or address after ://, with neither a user name nor a wildcard, and whole percent-encodings)"}},
		"http is not allowed":                    {want: web("http://example.com/"), rules: []v1alpha1.AccessRule{rule("a", redirects("example.com"))}, rule: "a", missing: []string{"redirect URI http://example.com/ (must be https: http is for localhost, 127.0.0.1 and [::1])"}},
		"http on a loopback host that is listed": {want: web("http://localhost:8000/", "http://[::1]/"), rules: []v1alpha1.AccessRule{rule("a", redirects("localhost", "[::1]"))}, rule: "a"},
		"loopback must be listed":                {want: web("http://127.0.0.1/"), rules: []v1alpha1.AccessRule{rule("a", redirects("localhost"))}, rule: "a", missing: []string{"redirect URI http://127.0.0.1/ (redirectHosts has no 127.0.0.1)"}},
		"everyone must be listed": {
			want:  client(func(c *plan.Client) { c.Audience = "everyone" }),
			rules: []v1alpha1.AccessRule{rule("a")}, rule: "a", missing: []string{"audience everyone"},
		},
		"a grant type that is not listed": {
			want:  client(func(c *plan.Client) { c.GrantTypes, c.Scopes = []string{"password"}, nil }),
			rules: []v1alpha1.AccessRule{rule("a")}, rule: "a", missing: []string{"grant type password"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			verdict := plan.Judge(row.want, plan.Namespace{Labels: payments}, row.rules, "own")
			require.Equal(t, row.rule, verdict.Rule)
			require.Equal(t, row.missing, verdict.Missing)
			require.Equal(t, row.rule != "" && row.missing == nil, verdict.Allowed)
			for _, missing := range row.missing {
				require.Contains(t, verdict.Message(), missing)
			}
			if verdict.Allowed {
				require.Equal(t, row.want, verdict.Client)
			}
		})
	}
}

func TestTightenedAccessKeepsTheIntersection(t *testing.T) {
	want := client(func(c *plan.Client) {
		c.GrantTypes = []string{"authorization_code", "refresh_token", "password"}
		c.RedirectURIs = []string{"https://a.example.com/", "https://evil.example/"}
		c.Scopes = []plan.Scope{{Name: "profile"}, {Name: "full"}}
		c.Audience = "everyone"
	})
	verdict := plan.Judge(want, plan.Namespace{}, []v1alpha1.AccessRule{rule("a", func(r *v1alpha1.AccessRule) {
		r.RedirectHosts = []v1alpha1.RedirectHost{"*.example.com"}
	})}, "own")
	require.False(t, verdict.Allowed)
	require.Equal(t, []string{"authorization_code", "refresh_token"}, verdict.Client.GrantTypes)
	require.Equal(t, []string{"https://a.example.com/"}, verdict.Client.RedirectURIs)
	require.Equal(t, []plan.Scope{{Name: "profile"}}, verdict.Client.Scopes)
	require.Equal(t, "internal", verdict.Client.Audience)
	require.True(t, verdict.Client.Enabled)
}

func TestAnAppWithNothingLeftIsDisabled(t *testing.T) {
	verdict := plan.Judge(client(), plan.Namespace{}, []v1alpha1.AccessRule{rule("a", func(r *v1alpha1.AccessRule) { r.GrantTypes = []v1alpha1.GrantType{"password"} })}, "own")
	require.False(t, verdict.Client.Enabled)
	require.Empty(t, verdict.Client.Scopes)
	require.Equal(t, client().GrantTypes, verdict.Client.GrantTypes, "servers refuse a client without a grant type")

	verdict = plan.Judge(client(), plan.Namespace{}, nil, "own")
	require.False(t, verdict.Client.Enabled)
	require.Contains(t, verdict.Message(), "no access rule of the TokenServer is for this namespace")
}

// Whatever a client asks for, what is carried out is never more than it asks
// for and never more than the rules allow.
func TestAVerdictIsNeverMoreThanWasAskedForOrAllowed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := genClient(t, "want")
		var rules []v1alpha1.AccessRule
		for range rapid.IntRange(0, 3).Draw(t, "rules") {
			rules = append(rules, rule(rapid.SampledFrom([]string{"x", "y"}).Draw(t, "name"), func(r *v1alpha1.AccessRule) {
				r.Scopes = []v1alpha1.AccessScope{{Scope: rapid.SampledFrom([]string{"a", "b", "*"}).Draw(t, "scope")}}
				r.GrantTypes = r.GrantTypes[:rapid.IntRange(1, 3).Draw(t, "grants")]
			}))
		}
		verdict := plan.Judge(want, plan.Namespace{}, rules, "own")
		got := verdict.Client
		for _, s := range got.Scopes {
			if !slices.Contains(want.Scopes, s) {
				t.Fatalf("scope %s was not asked for", s)
			}
		}
		if got.Enabled && !want.Enabled {
			t.Fatalf("an app that is to be disabled would be enabled")
		}
		if again := plan.Judge(got, plan.Namespace{}, rules, "own"); got.Enabled && !again.Allowed {
			t.Fatalf("what is left is not allowed: %v", again.Missing)
		}
	})
}
