// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/plan/plantest"
)

// some draws a part of a list.
func some[T comparable](t *rapid.T, label string, list ...T) []T {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(list), 0, len(list), rapid.ID).Draw(t, label)
}

// chance draws true once in n times.
func chance(t *rapid.T, label string, n int) bool { return rapid.IntRange(1, n).Draw(t, label) == 1 }

// flag draws a boolean or none.
func flag(t *rapid.T, label string) *bool {
	return rapid.SampledFrom([]*bool{nil, new(true), new(false)}).Draw(t, label)
}

// validURIs are the redirect URIs of the table that the CRD admits.
func validURIs() []v1alpha1.RedirectURI {
	var uris []v1alpha1.RedirectURI
	for _, row := range plantest.RedirectURIs() {
		if row.Says == "" {
			uris = append(uris, v1alpha1.RedirectURI(row.URI))
		}
	}
	return uris
}

// host draws a host from parts that are easily mistaken for each other.
func host(t *rapid.T) string {
	part := rapid.SampledFrom([]string{"a", "app", "example", "example.com", "com", "evil-app", "A", "127.0.0.1", "localhost"})
	return strings.Join(rapid.SliceOfN(part, 1, 3).Draw(t, "host"), ".")
}

func uri(t *rapid.T) v1alpha1.RedirectURI {
	if chance(t, "of the table", 2) {
		return rapid.SampledFrom(validURIs()).Draw(t, "uri")
	}
	return v1alpha1.RedirectURI("https://" + host(t) + rapid.SampledFrom([]string{"", "/", ":8443/cb", "?a=b", "/@app.example.com"}).Draw(t, "rest"))
}

// scopeName draws a name, or with a pattern's star, from few letters, so that
// names and patterns meet.
func scopeName(t *rapid.T) string {
	return rapid.StringMatching(`(profile|view:|a|b){1,2}`).Draw(t, "scope")
}

func app(t *rapid.T) *v1alpha1.ConnectedApp {
	a := &v1alpha1.ConnectedApp{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "app"}}
	s := &a.Spec
	itself := rapid.Bool().Draw(t, "acts for itself")
	if itself {
		s.GrantTypes = []v1alpha1.GrantType{"client_credentials"}
	} else {
		s.GrantTypes = append([]v1alpha1.GrantType{"authorization_code"}, some(t, "grants", v1alpha1.GrantType("refresh_token"), "password")...)
		s.RedirectURIs = rapid.SliceOfNDistinct(rapid.Custom(uri), 1, 4, rapid.ID).Draw(t, "redirects")
		s.PostLogoutRedirectURIs = rapid.SliceOfNDistinct(rapid.Custom(uri), 0, 2, rapid.ID).Draw(t, "post-logout")
		s.SkipUserConsent = flag(t, "skip")
	}
	if chance(t, "by assertions", 4) {
		s.GrantTypes = []v1alpha1.GrantType{"urn:ietf:params:oauth:grant-type:jwt-bearer"}
		s.IdentityProviders, s.AssertionsWithoutExpiry = some(t, "providers", v1alpha1.Identifier("corp"), "partner"), flag(t, "for ever")
	}
	isNative := func(u v1alpha1.RedirectURI) bool { return !strings.HasPrefix(string(u), "http") }
	if slices.ContainsFunc(s.RedirectURIs, isNative) || slices.ContainsFunc(s.PostLogoutRedirectURIs, isNative) {
		s.ClientType = v1alpha1.ClientPublic
	}
	if s.ClientType != v1alpha1.ClientPublic && chance(t, "by ServiceAccounts", 3) {
		s.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsServiceAccount}
		for _, name := range append(some(t, "accounts", "a", "not-default", "default"), "b") {
			s.Credentials.ServiceAccounts = append(s.Credentials.ServiceAccounts, v1alpha1.ServiceAccountReference{Name: name})
		}
	}
	seen := map[v1alpha1.ScopeAssignment]bool{}
	for range rapid.IntRange(0, 3).Draw(t, "scopes") {
		assignment := v1alpha1.ScopeAssignment{Scope: scopeName(t)}
		if itself {
			assignment.OrganizationID = rapid.SampledFrom([]string{"", "", "o", plantest.OrganizationID}).Draw(t, "organization")
			assignment.EnvironmentID = rapid.SampledFrom([]string{"", "", "e"}).Draw(t, "environment")
		}
		if !seen[assignment] { // of a repetition the policy counts two when it looks for the nearest rule
			s.Scopes = append(s.Scopes, assignment)
		}
		seen[assignment] = true
	}
	s.Audience = rapid.SampledFrom([]v1alpha1.Audience{"", "internal", "everyone"}).Draw(t, "audience")
	s.DeletionPolicy = rapid.SampledFrom([]v1alpha1.DeletionPolicy{"", "Delete", "Orphan"}).Draw(t, "deletion")
	return a
}

func rule(t *rapid.T, name string) v1alpha1.AccessRule {
	r := v1alpha1.AccessRule{
		Name: name, NamespaceSelector: selector(t),
		GrantTypes:           []v1alpha1.GrantType{"authorization_code", "refresh_token", "password", "client_credentials", "urn:ietf:params:oauth:grant-type:jwt-bearer"},
		RedirectHosts:        some(t, "hosts", v1alpha1.RedirectHost("app.example.com"), "*.example.com", "localhost", "127.0.0.1", "[::1]", "*.com", "evil.example"),
		RedirectSchemes:      some(t, "schemes", v1alpha1.RedirectScheme("com.example.app"), "example.app"),
		Audiences:            some(t, "audiences", v1alpha1.AudienceInternal, v1alpha1.AudienceEveryone),
		IdentityProviders:    some(t, "allowed providers", v1alpha1.Identifier("corp"), "partner"),
		AllowSkipUserConsent: flag(t, "allow skip"), AllowAssertionsWithoutExpiry: flag(t, "allow for ever"),
		AllowDefaultServiceAccount: flag(t, "allow default"),
		DeletionPolicies:           some(t, "deletions", v1alpha1.DeletionDelete, v1alpha1.DeletionOrphan),
	}
	if chance(t, "few grants", 2) {
		r.GrantTypes = some(t, "allowed grants", r.GrantTypes...)
	}
	for range rapid.IntRange(0, 3).Draw(t, "allowed scopes") {
		r.Scopes = append(r.Scopes, v1alpha1.AccessScope{
			Scope:           rapid.SampledFrom([]string{"", "*"}).Draw(t, "star"),
			OrganizationIDs: some(t, "organizations", v1alpha1.Identifier("o"), plantest.OrganizationID),
			EnvironmentIDs:  some(t, "environments", v1alpha1.Identifier("e")),
		})
		if last := &r.Scopes[len(r.Scopes)-1]; last.Scope == "" || rapid.Bool().Draw(t, "prefix") {
			last.Scope = scopeName(t) + last.Scope
		}
	}
	return r
}

func selector(t *rapid.T) v1alpha1.NamespaceSelector {
	s := v1alpha1.NamespaceSelector{}
	if chance(t, "by label", 3) {
		s.MatchLabels = map[string]v1alpha1.LabelValue{
			rapid.SampledFrom([]string{"team", "tier"}).Draw(t, "label"): rapid.SampledFrom([]v1alpha1.LabelValue{"a", "b", ""}).Draw(t, "value"),
		}
	}
	if chance(t, "by expression", 3) {
		e := v1alpha1.NamespaceSelectorRequirement{
			Key:      rapid.SampledFrom([]string{"team", "tier", "not a key", "example.com/team"}).Draw(t, "key"),
			Operator: rapid.SampledFrom([]metav1.LabelSelectorOperator{"In", "NotIn", "Exists", "DoesNotExist"}).Draw(t, "operator"),
		}
		if e.Operator == "In" || e.Operator == "NotIn" {
			e.Values = append([]v1alpha1.LabelValue{"a"}, some(t, "values", v1alpha1.LabelValue("b"), "", "not a value")...)
		}
		s.MatchExpressions = append(s.MatchExpressions, e)
	}
	return s
}

// Whatever is asked for under whatever rules: the policy refuses what the plan
// refuses, names the rule that the plan names, and fails at nothing.
func TestThePolicyNeverDiffersFromThePlan(t *testing.T) {
	p := current(t)
	var allowed, refused int
	rapid.Check(t, func(t *rapid.T) {
		r := request{app: app(t), labels: labels(rapid.SampledFrom([]map[string]string{nil, {"team": "a"}, {"team": "b", "tier": "a"}}).Draw(t, "labels"))}
		var rules []v1alpha1.AccessRule
		for _, name := range []string{"x", "y", "z"}[:rapid.IntRange(0, 3).Draw(t, "rules")] {
			rules = append(rules, rule(t, name))
		}
		r.server = tokenServer(rules...)
		want, nearest := plantest.Judge(r.app, r.labels, rules, plantest.OrganizationID)
		got := p.decide(t, r)
		require.Empty(t, got.failed)
		require.Equal(t, want, !got.refused, got.message)
		if want {
			allowed++
			return
		}
		refused++
		require.Contains(t, got.message, "TokenServer default")
		if nearest != "" {
			require.Contains(t, got.message, "the nearest, "+nearest+", does not allow ")
			require.NotContains(t, got.message, "does not allow ;")
		}
		// While the organization is not known, nothing is refused that some
		// organization would be allowed.
		r.server.Status.OrganizationID = ""
		if !p.decide(t, r).refused {
			return
		}
		for _, organization := range []string{"o", plantest.OrganizationID, "x"} {
			may, _ := plantest.Judge(r.app, r.labels, rules, organization)
			require.False(t, may, "it may in organization %s", organization)
		}
	})
	require.Positive(t, allowed, "every app was refused")
	require.Positive(t, refused, "no app was refused")
}

// FuzzThePolicyAndThePlanAgreeAboutRedirectURIs looks for a redirect URI that the
// CRD admits and the two read differently.
func FuzzThePolicyAndThePlanAgreeAboutRedirectURIs(f *testing.F) {
	for _, row := range plantest.RedirectURIs() {
		f.Add(row.URI, "app.example.com", "com.example.app")
		f.Add(row.URI, "*.example.com", "example.app")
	}
	p, check, checkServer := current(f), validator(f, "connectedapps"), validator(f, "tokenservers")
	f.Fuzz(func(t *testing.T, uri, host, scheme string) {
		spec := publicApp(uri)
		if len(uri) > 2000 || len(host) > 253 || len(scheme) > 128 || len(check(t, spec)) > 0 {
			return // the schema refuses it
		}
		a := plantest.Request{Spec: v1alpha1.ConnectedAppSpec{
			ClientType: v1alpha1.ClientPublic, GrantTypes: []v1alpha1.GrantType{"authorization_code"}, RedirectURIs: []v1alpha1.RedirectURI{v1alpha1.RedirectURI(uri)},
		}}.App(namespace)
		r := plantest.Rule("a")
		r.RedirectHosts, r.RedirectSchemes = []v1alpha1.RedirectHost{v1alpha1.RedirectHost(host)}, []v1alpha1.RedirectScheme{v1alpha1.RedirectScheme(scheme)}
		server := tokenServer(r)
		server.Spec.URL = "https://id.example.com"
		server.Spec.Credentials = v1alpha1.TokenServerCredentials{Type: "Secret", SecretRef: &v1alpha1.SecretReference{Name: "a"}}
		if len(checkServer(t, untyped(t, server).Object["spec"].(map[string]any))) > 0 {
			return
		}
		want, _ := plantest.Judge(a, nil, server.Spec.Access, plantest.OrganizationID)
		got := p.decide(t, request{app: a, server: server, labels: labels(nil)})
		require.Empty(t, got.failed)
		require.Equal(t, want, !got.refused, "%q under %q and %q: %s", uri, host, scheme, got.message)
	})
}
