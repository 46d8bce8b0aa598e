// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/plan"
	"connectedapps.dev/operator/internal/plan/plantest"
)

func native(uris ...string) plan.Client {
	return client(func(c *plan.Client) {
		c.GrantTypes, c.RedirectURIs, c.Scopes, c.AuthMethod = []string{"authorization_code"}, uris, nil, "none"
	})
}

func confidential(c *plan.Client) { c.AuthMethod = "client_secret_post" }

func redirectsTo(hosts []v1alpha1.RedirectHost, schemes ...v1alpha1.RedirectScheme) []v1alpha1.AccessRule {
	return []v1alpha1.AccessRule{rule("a", func(r *v1alpha1.AccessRule) { r.RedirectHosts, r.RedirectSchemes = hosts, schemes })}
}

// A rule that lists the hosts and schemes of an app's own must not be talked
// into another: what a row names is the only entry that allows its URI.
func TestRedirectURIsAreAllowedByTheirOwnEntryAlone(t *testing.T) {
	others := redirectsTo([]v1alpha1.RedirectHost{"app.example", "*.app.example.com", "com.example.app", "localhost.example"}, "com.example", "com.example.app.x", "https")
	for _, row := range plantest.RedirectURIs() {
		t.Run(row.Name, func(t *testing.T) {
			t.Parallel()
			refused := plan.Judge(native(row.URI), plan.Namespace{}, others, "own")
			require.False(t, refused.Allowed)
			require.Empty(t, refused.Client.RedirectURIs)
			require.Contains(t, refused.Message(), row.Says)
			own := ownEntry(row)
			if own == nil {
				return
			}
			allowed := plan.Judge(native(row.URI), plan.Namespace{}, own, "own")
			require.True(t, allowed.Allowed, allowed.Message())
			require.Equal(t, []string{row.URI}, allowed.Client.RedirectURIs, "unchanged")
		})
	}
}

func ownEntry(row plantest.RedirectURI) []v1alpha1.AccessRule {
	switch {
	case row.Host != "":
		return redirectsTo([]v1alpha1.RedirectHost{v1alpha1.RedirectHost(row.Host)})
	case row.Scheme != "":
		return redirectsTo(nil, v1alpha1.RedirectScheme(row.Scheme))
	}
	return nil
}

// What is refused in itself stays so under a rule that lists all an attacker
// could hope for.
func TestNoRuleAllowsARedirectURIThatCanBeReadInTwoWays(t *testing.T) {
	rules := redirectsTo([]v1alpha1.RedirectHost{"*.example", "*.com", "app.example.com", "evil.example", "localhost", "127.0.0.1", "[::1]"},
		"com.example.app", "javascript", "data", "file", "myapp", "http", "https")
	for _, row := range plantest.RedirectURIs() {
		if row.Says == "" {
			continue
		}
		verdict := plan.Judge(native(row.URI), plan.Namespace{}, rules, "own")
		require.False(t, verdict.Allowed, row.Name)
		require.Contains(t, verdict.Message(), row.Says, row.Name)
	}
}

func TestAPrivateUseScheme(t *testing.T) {
	const uri = "com.example.app:/callback"
	for name, row := range map[string]struct {
		want    plan.Client
		rules   []v1alpha1.AccessRule
		missing string
	}{
		"that a rule lists is allowed": {want: native(uri), rules: redirectsTo(nil, "com.example.app")},
		"that no rule lists is not": {
			want: native(uri), rules: redirectsTo([]v1alpha1.RedirectHost{"com.example.app", "*.app"}),
			missing: "redirect URI com.example.app:/callback (redirectSchemes has no com.example.app: rule a allows none)",
		},
		"is compared as a whole": {
			want: native("com.example.app.beta:/callback"), rules: redirectsTo(nil, "com.example.app"),
			missing: "redirectSchemes has no com.example.app.beta",
		},
		"of a confidential client is not allowed": {
			want: client(func(c *plan.Client) { *c = native(uri); confidential(c) }), rules: redirectsTo(nil, "com.example.app"),
			missing: "a private-use scheme is for clientType Public",
		},
		"of one rule and a host of another are not allowed": {
			want:    native(uri, "https://example.com/"),
			rules:   append(redirectsTo(nil, "com.example.app"), redirectsTo([]v1alpha1.RedirectHost{"example.com"})...),
			missing: "redirectHosts has no example.com",
		},
		"and a host of one rule are": {
			want: native(uri, "https://example.com/"), rules: redirectsTo([]v1alpha1.RedirectHost{"example.com"}, "com.example.app"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			verdict := plan.Judge(row.want, plan.Namespace{}, row.rules, "own")
			require.Equal(t, row.missing == "", verdict.Allowed)
			require.Contains(t, verdict.Message(), row.missing)
		})
	}
}

func TestTightenedSchemesLeaveTheServer(t *testing.T) {
	want := native("com.example.app:/callback", "com.example.other:/callback", "http://127.0.0.1/")
	verdict := plan.Judge(want, plan.Namespace{}, redirectsTo([]v1alpha1.RedirectHost{"127.0.0.1"}, "com.example.app"), "own")
	require.False(t, verdict.Allowed)
	require.Equal(t, []string{"com.example.app:/callback", "http://127.0.0.1/"}, verdict.Client.RedirectURIs)
	require.True(t, verdict.Client.Enabled)
}

func TestAnEmptyPathOfARedirectURIIsNoDifference(t *testing.T) {
	for name, row := range map[string]struct {
		live, want []string
		differ     bool
	}{
		"an empty path is a slash":            {live: []string{"https://a.example/"}, want: []string{"https://a.example"}},
		"the other way round":                 {live: []string{"https://a.example:8443"}, want: []string{"https://a.example:8443/"}},
		"before a query as well":              {live: []string{"https://a.example/?b=c"}, want: []string{"https://a.example?b=c"}},
		"both at once are one":                {live: []string{"https://a.example/"}, want: []string{"https://a.example", "https://a.example/"}},
		"their order does not count":          {live: []string{"https://b.example", "https://a.example/"}, want: []string{"https://a.example", "https://b.example/"}},
		"a native app's is compared as it is": {live: []string{"com.example.app:/"}, want: []string{"com.example.app:/"}},
		"a slash after a path counts":         {live: []string{"https://a.example/b/"}, want: []string{"https://a.example/b"}, differ: true},
		"a slash in a query counts":           {live: []string{"https://a.example?/"}, want: []string{"https://a.example?"}, differ: true},
		"another path of a native app counts": {live: []string{"com.example.app:/b"}, want: []string{"com.example.app:/"}, differ: true},
		"two slashes of a native app count":   {live: []string{"com.example.app:///"}, want: []string{"com.example.app:/"}, differ: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			changes := plan.Diff(native(row.live...), native(row.want...))
			if !row.differ {
				require.Empty(t, changes)
				return
			}
			require.Equal(t, []plan.Change{{Field: plan.FieldRedirectURIs, Old: "[" + row.live[0] + "]", New: "[" + row.want[0] + "]"}}, changes)
		})
	}
}

// What a verdict keeps of an app's redirect URIs is allowed by the same rules,
// and nothing of it was changed.
func TestNarrowedRedirectURIsAreAllowed(t *testing.T) {
	var uris []string
	for _, row := range plantest.RedirectURIs() {
		uris = append(uris, row.URI)
	}
	rapid.Check(t, func(t *rapid.T) {
		want := native(rapid.SliceOfNDistinct(rapid.SampledFrom(uris), 0, 5, rapid.ID).Draw(t, "uris")...)
		if rapid.Bool().Draw(t, "confidential") {
			confidential(&want)
		}
		rules := append(redirectsTo([]v1alpha1.RedirectHost{"*.example.com"}, "com.example.app"), redirectsTo([]v1alpha1.RedirectHost{"localhost"}, "example.app")...)
		got := plan.Judge(want, plan.Namespace{}, rules, "own").Client
		for _, uri := range got.RedirectURIs {
			if !slices.Contains(want.RedirectURIs, uri) {
				t.Fatalf("%s was not asked for", uri)
			}
		}
		if again := plan.Judge(got, plan.Namespace{}, rules, "own"); !again.Allowed {
			t.Fatalf("what is left is not allowed: %v", again.Missing)
		}
	})
}
