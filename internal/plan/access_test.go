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
			rule: "a", missing: []string{"scope b (rule a allows a)"},
		},
		"the second rule may allow what the first does not": {
			want: scoped(plan.Scope{Name: "b"}),
			rules: []v1alpha1.AccessRule{
				rule("a", scopes(v1alpha1.AccessScope{Scope: "a"})), rule("b", scopes(v1alpha1.AccessScope{Scope: "b"})),
			},
			rule: "b",
		},
		"a trailing wildcard":                 {want: scoped(plan.Scope{Name: "view:clients"}), rules: []v1alpha1.AccessRule{rule("a")}, rule: "a"},
		"a wildcard is not for what precedes": {want: scoped(plan.Scope{Name: "review:clients"}), rules: []v1alpha1.AccessRule{rule("a")}, rule: "a", missing: []string{"scope review:clients (rule a allows profile, view:*)"}},
		"a name without wildcard is exact":    {want: scoped(plan.Scope{Name: "profile2"}), rules: []v1alpha1.AccessRule{rule("a")}, rule: "a", missing: []string{"scope profile2 (rule a allows profile, view:*)"}},
		"an organization that is listed": {
			want:  scoped(plan.Scope{Name: "a", OrganizationID: "o"}),
			rules: []v1alpha1.AccessRule{rule("a", scopes(v1alpha1.AccessScope{Scope: "a", OrganizationIDs: []v1alpha1.Identifier{"o"}}))}, rule: "a",
		},
		"an organization that is not": {
			want:  scoped(plan.Scope{Name: "a", OrganizationID: "p"}),
			rules: []v1alpha1.AccessRule{rule("a", scopes(v1alpha1.AccessScope{Scope: "a", OrganizationIDs: []v1alpha1.Identifier{"o"}}))},
			rule:  "a", missing: []string{"scope a (organization p) (rule a allows a in organization o)"},
		},
		"no organization means the app's own": {
			want:  scoped(plan.Scope{Name: "a"}),
			rules: []v1alpha1.AccessRule{rule("a", scopes(v1alpha1.AccessScope{Scope: "a", OrganizationIDs: []v1alpha1.Identifier{"own"}}))}, rule: "a",
		},
		"an environment that is missing": {
			want:  scoped(plan.Scope{Name: "a", OrganizationID: "o"}),
			rules: []v1alpha1.AccessRule{rule("a", scopes(v1alpha1.AccessScope{Scope: "a", EnvironmentIDs: []v1alpha1.Identifier{"e"}}))},
			rule:  "a", missing: []string{"scope a (organization o) (rule a allows a in environment e)"},
		},
		"an exact host":                          {want: web("https://example.com/cb"), rules: []v1alpha1.AccessRule{rule("a", redirects("example.com"))}, rule: "a"},
		"a host is compared without its case":    {want: web("https://EXAMPLE.com:8443/cb"), rules: []v1alpha1.AccessRule{rule("a", redirects("example.com"))}, rule: "a"},
		"a wildcard is one label":                {want: web("https://a.example.com/"), rules: []v1alpha1.AccessRule{rule("a", redirects("*.example.com"))}, rule: "a"},
		"a wildcard is several labels":           {want: web("https://a.b.example.com/"), rules: []v1alpha1.AccessRule{rule("a", redirects("*.example.com"))}, rule: "a"},
		"a wildcard is not no label":             {want: web("https://example.com/"), rules: []v1alpha1.AccessRule{rule("a", redirects("*.example.com"))}, rule: "a", missing: []string{"redirect URI https://example.com/ (redirectHosts has no example.com: rule a allows *.example.com)"}},
		"a wildcard is not another domain":       {want: web("https://evilexample.com/"), rules: []v1alpha1.AccessRule{rule("a", redirects("*.example.com"))}, rule: "a", missing: []string{"redirect URI https://evilexample.com/ (redirectHosts has no evilexample.com: rule a allows *.example.com)"}},
		"a host in the path does not count":      {want: web("https://evil.example/example.com"), rules: []v1alpha1.AccessRule{rule("a", redirects("example.com"))}, rule: "a", missing: []string{"redirect URI https://evil.example/example.com (redirectHosts has no evil.example: rule a allows example.com)"}},
		"a host before an at sign does not":      {want: web("https://example.com@evil.example/"), rules: []v1alpha1.AccessRule{rule("a", redirects("example.com"))}, rule: "a", missing: []string{"redirect URI https://example.com@evil.example/ (must have a host name or address after ://, with neither a user name nor a wildcard, and whole percent-encodings)"}},
		"http is not allowed":                    {want: web("http://example.com/"), rules: []v1alpha1.AccessRule{rule("a", redirects("example.com"))}, rule: "a", missing: []string{"redirect URI http://example.com/ (must be https: http is for localhost, 127.0.0.1 and [::1])"}},
		"http on a loopback host that is listed": {want: web("http://localhost:8000/", "http://[::1]/"), rules: []v1alpha1.AccessRule{rule("a", redirects("localhost", "[::1]"))}, rule: "a"},
		"loopback must be listed":                {want: web("http://127.0.0.1/"), rules: []v1alpha1.AccessRule{rule("a", redirects("localhost"))}, rule: "a", missing: []string{"redirect URI http://127.0.0.1/ (redirectHosts has no 127.0.0.1: rule a allows localhost)"}},
		"everyone must be listed": {
			want:  client(func(c *plan.Client) { c.Audience = "everyone" }),
			rules: []v1alpha1.AccessRule{rule("a")}, rule: "a", missing: []string{"audience everyone (rule a allows internal)"},
		},
		"a grant type that is not listed": {
			want:  client(func(c *plan.Client) { c.GrantTypes, c.Scopes = []string{"password"}, nil }),
			rules: []v1alpha1.AccessRule{rule("a")}, rule: "a", missing: []string{"grant type password (rule a allows client_credentials, authorization_code, refresh_token)"},
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

	refreshing := client(func(c *plan.Client) { c.GrantTypes, c.Scopes = []string{"password", "refresh_token"}, nil })
	verdict = plan.Judge(refreshing, plan.Namespace{}, []v1alpha1.AccessRule{rule("a")}, "own")
	require.False(t, verdict.Client.Enabled, "there is no first token to refresh")

	verdict = plan.Judge(client(), plan.Namespace{}, nil, "own")
	require.False(t, verdict.Client.Enabled)
	require.Contains(t, verdict.Message(), "the TokenServer has no access rules")
}

// mighty has every power that a member of the API gives.
func mighty(c *plan.Client) {
	c.GrantTypes, c.Scopes = []string{"authorization_code", "urn:ietf:params:oauth:grant-type:jwt-bearer"}, []plan.Scope{{Name: "full"}}
	c.RedirectURIs, c.PostLogoutRedirectURIs = []string{"https://a.example.com/"}, []string{"https://a.example.com/bye", "https://evil.example/"}
	c.Audience, c.IdentityProviders = "everyone", []string{"corp", "partner"}
	c.SkipUserConsent, c.AssertionsWithoutExpiry = true, true
}

func TestPowerNeedsARule(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*v1alpha1.AccessRule)
		keeps  func(*plan.Client)
	}{
		"nothing beside a grant type": {
			change: func(*v1alpha1.AccessRule) {}, keeps: func(*plan.Client) {},
		},
		"where to go after signing out": {
			change: func(r *v1alpha1.AccessRule) { r.RedirectHosts = []v1alpha1.RedirectHost{"*.example.com"} },
			keeps: func(c *plan.Client) {
				c.RedirectURIs, c.PostLogoutRedirectURIs = []string{"https://a.example.com/"}, []string{"https://a.example.com/bye"}
			},
		},
		"one identity provider": {
			change: func(r *v1alpha1.AccessRule) { r.IdentityProviders = []v1alpha1.Identifier{"partner", "other"} },
			keeps:  func(c *plan.Client) { c.IdentityProviders = []string{"partner"} },
		},
		"no consent": {
			change: func(r *v1alpha1.AccessRule) { r.AllowSkipUserConsent = new(true) },
			keeps:  func(c *plan.Client) { c.SkipUserConsent = true },
		},
		"consent, said in words": {
			change: func(r *v1alpha1.AccessRule) {
				r.AllowSkipUserConsent, r.AllowAssertionsWithoutExpiry = new(false), new(false)
			},
			keeps: func(*plan.Client) {},
		},
		"assertions for ever": {
			change: func(r *v1alpha1.AccessRule) { r.AllowAssertionsWithoutExpiry = new(true) },
			keeps:  func(c *plan.Client) { c.AssertionsWithoutExpiry = true },
		},
		"every audience": {
			change: func(r *v1alpha1.AccessRule) { r.Audiences = []v1alpha1.Audience{"internal", "everyone"} },
			keeps:  func(c *plan.Client) { c.Audience = "everyone" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := client(func(c *plan.Client) { c.GrantTypes, c.Scopes = []string{"authorization_code"}, nil }, row.keeps)
			verdict := plan.Judge(client(mighty), plan.Namespace{}, []v1alpha1.AccessRule{rule("a", row.change)}, "own")
			require.False(t, verdict.Allowed)
			require.Equal(t, want, verdict.Client)
			require.True(t, plan.Judge(want, plan.Namespace{}, []v1alpha1.AccessRule{rule("a", row.change)}, "own").Allowed)
		})
	}
}

func TestNothingIsLeftOfAClientThatNoRuleAllows(t *testing.T) {
	left := client(func(c *plan.Client) { mighty(c); c.Enabled = false }).GrantTypes
	for name, rules := range map[string][]v1alpha1.AccessRule{
		"no rule": nil,
		"a rule for other grants": {rule("a", func(r *v1alpha1.AccessRule) {
			r.GrantTypes, r.IdentityProviders = []v1alpha1.GrantType{"password"}, []v1alpha1.Identifier{"corp"}
		})},
		"a rule for another audience": {rule("a", func(r *v1alpha1.AccessRule) { r.Audiences = []v1alpha1.Audience{"everyone"} })},
	} {
		verdict := plan.Judge(client(mighty, func(c *plan.Client) {
			if name == "a rule for another audience" {
				c.Audience = "internal"
			}
		}), plan.Namespace{}, rules, "own")
		require.Equal(t, client(func(c *plan.Client) { c.GrantTypes, c.Scopes, c.Enabled = left, nil, false }), verdict.Client, name)
	}
}

func TestTheRuleThatLeavesMostIsTaken(t *testing.T) {
	forPasswords := rule("passwords", func(r *v1alpha1.AccessRule) {
		r.GrantTypes, r.Scopes = []v1alpha1.GrantType{"password"}, []v1alpha1.AccessScope{{Scope: "*"}}
	})
	want := client(func(c *plan.Client) { c.Scopes = []plan.Scope{{Name: "a"}, {Name: "b"}} })
	verdict := plan.Judge(want, plan.Namespace{}, []v1alpha1.AccessRule{forPasswords, rule("apps")}, "own")
	require.Equal(t, "apps", verdict.Rule, "it takes both scopes away, the other all that the app is")
	require.True(t, verdict.Client.Enabled)
}

// A client that nobody can authenticate as is of no use.
func TestTheRuleThatLeavesAWayInIsTaken(t *testing.T) {
	byDefault := rule("by default", func(r *v1alpha1.AccessRule) { r.AllowDefaultServiceAccount, r.Scopes = new(true), nil })
	want := client(func(c *plan.Client) {
		c.AuthMethod, c.Scopes = "private_key_jwt", []plan.Scope{{Name: "a"}, {Name: "b"}}
		c.Identities = []plan.Identity{{Issuer: "prod", Subject: "system:serviceaccount:payments:default"}}
	})
	all := rule("all", func(r *v1alpha1.AccessRule) { r.Scopes = []v1alpha1.AccessScope{{Scope: "*"}} })
	verdict := plan.Judge(want, plan.Namespace{}, []v1alpha1.AccessRule{all, byDefault}, "own")
	require.Equal(t, "by default", verdict.Rule, "it takes both scopes away, the other all ways to log in")
	require.True(t, verdict.Client.Enabled)

	require.False(t, plan.Judge(want, plan.Namespace{}, []v1alpha1.AccessRule{all}, "own").Client.Enabled)
	want.PublicKeys = []string{"key"}
	require.True(t, plan.Judge(want, plan.Namespace{}, []v1alpha1.AccessRule{all}, "own").Client.Enabled, "it signs")
}

func TestWhichRuleLetsAClientStay(t *testing.T) {
	only := func(policies ...v1alpha1.DeletionPolicy) func(*v1alpha1.AccessRule) {
		return func(r *v1alpha1.AccessRule) { r.DeletionPolicies = policies }
	}
	lacking := func(r *v1alpha1.AccessRule) { r.Scopes = nil }
	for name, row := range map[string]struct {
		rules   []v1alpha1.AccessRule
		rule    string
		allowed bool
	}{
		"no rule does not":                                   {},
		"a rule that says nothing does":                      {rules: []v1alpha1.AccessRule{rule("a")}, rule: "a", allowed: true},
		"a rule that lists Orphan does":                      {rules: []v1alpha1.AccessRule{rule("a", only("Orphan"))}, rule: "a", allowed: true},
		"a rule that lists Delete alone does not":            {rules: []v1alpha1.AccessRule{rule("a", only("Delete"))}, rule: "a"},
		"the second of two that allow the app does":          {rules: []v1alpha1.AccessRule{rule("a", only("Delete")), rule("b")}, rule: "b", allowed: true},
		"a rule that does not allow the app counts for less": {rules: []v1alpha1.AccessRule{rule("a", only("Delete")), rule("b", lacking)}, rule: "a"},
		"the nearest rule speaks for what is left":           {rules: []v1alpha1.AccessRule{rule("a", lacking, only("Delete"))}, rule: "a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			verdict := plan.Judge(client(), plan.Namespace{}, row.rules, "own")
			require.Equal(t, row.rule, verdict.Rule)
			require.Equal(t, row.allowed, verdict.OrphanAllowed)
		})
	}
}

// anyOf draws a part of a list.
func anyOf[T comparable](t *rapid.T, label string, list ...T) []T {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(list), 0, len(list), rapid.ID).Draw(t, label)
}

// genAnyClient is a client as a spec may ask for, or as somebody may have left it
// on a server.
func genAnyClient(t *rapid.T) plan.Client {
	uris := []string{"https://a.example/", "https://b.example/", "com.example.app:/cb", "http://a.example/"}
	c := plan.Client{
		Name: "a/b", GrantTypes: anyOf(t, "grants", "authorization_code", "refresh_token", "password", "client_credentials"),
		RedirectURIs: anyOf(t, "redirects", uris...), PostLogoutRedirectURIs: anyOf(t, "post-logout", uris...),
		Audience: rapid.SampledFrom([]string{"internal", "everyone"}).Draw(t, "audience"), Enabled: rapid.Bool().Draw(t, "enabled"),
		IdentityProviders: anyOf(t, "providers", "corp", "partner"), SkipUserConsent: rapid.Bool().Draw(t, "skip"),
		AssertionsWithoutExpiry: rapid.Bool().Draw(t, "for ever"),
		AuthMethod:              rapid.SampledFrom([]string{"", "client_secret_post", "private_key_jwt", "none"}).Draw(t, "method"),
	}
	for _, name := range anyOf(t, "scopes", "a", "b", "full") {
		c.Scopes = append(c.Scopes, plan.Scope{Name: name, OrganizationID: rapid.SampledFrom([]string{"", "o", "own"}).Draw(t, "organization")})
	}
	return c
}

func genRules(t *rapid.T) []v1alpha1.AccessRule {
	var rules []v1alpha1.AccessRule
	for range rapid.IntRange(0, 3).Draw(t, "rules") {
		r := v1alpha1.AccessRule{
			Name:            rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "name"),
			GrantTypes:      anyOf(t, "allowed grants", v1alpha1.GrantType("authorization_code"), "refresh_token", "password", "client_credentials"),
			RedirectHosts:   anyOf(t, "hosts", v1alpha1.RedirectHost("a.example"), "*.example"),
			RedirectSchemes: anyOf(t, "schemes", v1alpha1.RedirectScheme("com.example.app")), Audiences: anyOf(t, "audiences", v1alpha1.AudienceInternal, v1alpha1.AudienceEveryone),
			IdentityProviders:    anyOf(t, "allowed providers", v1alpha1.Identifier("corp"), "partner"),
			AllowSkipUserConsent: new(rapid.Bool().Draw(t, "allow skip")), AllowAssertionsWithoutExpiry: new(rapid.Bool().Draw(t, "allow for ever")),
			DeletionPolicies: anyOf(t, "deletion", v1alpha1.DeletionDelete, v1alpha1.DeletionOrphan),
		}
		for _, name := range anyOf(t, "allowed scopes", "a", "b", "*") {
			r.Scopes = append(r.Scopes, v1alpha1.AccessScope{Scope: name, OrganizationIDs: anyOf(t, "in", v1alpha1.Identifier("own"), "o")})
		}
		rules = append(rules, r)
	}
	return rules
}

func within[T comparable](got, want []T) bool {
	return !slices.ContainsFunc(got, func(item T) bool { return !slices.Contains(want, item) })
}

// Whatever a client asks for or has, what is left is never more than that and
// never more than one rule allows, and judging it again takes nothing more.
func TestAVerdictIsNeverMoreThanWasAskedForOrAllowed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want, rules := genAnyClient(t), genRules(t)
		verdict := plan.Judge(want, plan.Namespace{}, rules, "own")
		got := verdict.Client
		if !within(got.Scopes, want.Scopes) || !within(got.GrantTypes, want.GrantTypes) || !within(got.RedirectURIs, want.RedirectURIs) ||
			!within(got.PostLogoutRedirectURIs, want.PostLogoutRedirectURIs) || !within(got.IdentityProviders, want.IdentityProviders) ||
			got.Enabled && !want.Enabled || got.SkipUserConsent && !want.SkipUserConsent ||
			got.AssertionsWithoutExpiry && !want.AssertionsWithoutExpiry || got.Audience == "everyone" && want.Audience != "everyone" {
			t.Fatalf("more than was asked for: %+v", got)
		}
		again := plan.Judge(got, plan.Namespace{}, rules, "own")
		if changes := plan.Diff(got, again.Client); len(changes) > 0 {
			t.Fatalf("what is left is narrowed again: %v", changes)
		}
		if got.Enabled && !again.Allowed {
			t.Fatalf("what is left is not allowed: %v", again.Missing)
		}
		if power := got.SkipUserConsent || got.AssertionsWithoutExpiry || got.Audience == "everyone" ||
			len(got.Scopes)+len(got.RedirectURIs)+len(got.PostLogoutRedirectURIs)+len(got.IdentityProviders) > 0; power && !again.Allowed {
			t.Fatalf("a client that no rule allows keeps power: %+v", got)
		}
		if verdict.Allowed != (len(verdict.Missing) == 0 && verdict.Rule != "") || verdict.OrphanAllowed && verdict.Rule == "" {
			t.Fatalf("contradiction: %+v", verdict)
		}
		if len(verdict.Message()) > 1024 || len(verdict.OrphanMessage()) > 1024 {
			t.Fatalf("too long: %s", verdict.Message())
		}
	})
}
