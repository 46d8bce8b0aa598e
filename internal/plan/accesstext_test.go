// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/plan"
)

// The sentences that app teams read, each word of them.
func TestWhatAVerdictSays(t *testing.T) {
	const (
		head = "no access rule of the TokenServer allows all of the app; the nearest, payments, does not allow "
		tail = "; ask for less in the spec, or ask the platform team to add it to the rule"
	)
	web := func(uris ...string) func(*plan.Client) {
		return func(c *plan.Client) {
			c.GrantTypes, c.Scopes, c.RedirectURIs = []string{"authorization_code"}, nil, uris
		}
	}
	scopes := func(s ...plan.Scope) func(*plan.Client) { return func(c *plan.Client) { c.Scopes = s } }
	hosts := func(r *v1alpha1.AccessRule) {
		r.RedirectHosts, r.RedirectSchemes = []v1alpha1.RedirectHost{"*.example.com", "localhost"}, []v1alpha1.RedirectScheme{"com.example.app"}
	}
	nothing := func(*v1alpha1.AccessRule) {}
	for name, row := range map[string]struct {
		want func(*plan.Client)
		rule func(*v1alpha1.AccessRule)
		says string
	}{
		"allowed":      {func(*plan.Client) {}, nothing, "access rule payments allows the app"},
		"a scope":      {scopes(plan.Scope{Name: "full"}), nothing, head + "scope full (rule payments allows profile, view:*)" + tail},
		"some scopes":  {scopes(plan.Scope{Name: "full"}, plan.Scope{Name: "view:a"}, plan.Scope{Name: "x"}), nothing, head + "scopes full, x (rule payments allows profile, view:*)" + tail},
		"no scope":     {scopes(plan.Scope{Name: "x"}), func(r *v1alpha1.AccessRule) { r.Scopes = nil }, head + "scope x (rule payments allows none)" + tail},
		"many scopes":  {scopes(plan.Scope{Name: "a"}, plan.Scope{Name: "b"}, plan.Scope{Name: "c"}, plan.Scope{Name: "d"}, plan.Scope{Name: "e"}), nothing, head + "scopes a, b, c, d and 1 more (rule payments allows profile, view:*)" + tail},
		"a long scope": {scopes(plan.Scope{Name: strings.Repeat("x", 128)}), nothing, head + "scope " + strings.Repeat("x", 77) + "… (rule payments allows profile, view:*)" + tail},
		"a scope elsewhere": {
			scopes(plan.Scope{Name: "view:a", OrganizationID: "o", EnvironmentID: "e"}, plan.Scope{Name: "full"}),
			func(r *v1alpha1.AccessRule) {
				r.Scopes = []v1alpha1.AccessScope{{Scope: "profile"}, {Scope: "view:*", OrganizationIDs: []v1alpha1.Identifier{"p", "q"}, EnvironmentIDs: []v1alpha1.Identifier{"f"}}}
			},
			head + "scope view:a (organization o, environment e) (rule payments allows view:* in organization p or q in environment f), " +
				"scope full (rule payments allows profile, view:* in organization p or q in environment f)" + tail,
		},
		"a ServiceAccount": {
			func(c *plan.Client) {
				c.Identities = []plan.Identity{{Issuer: "prod", Subject: "system:serviceaccount:a:default"}, {Issuer: "prod", Subject: "system:serviceaccount:a:b"}}
			}, nothing, head + "ServiceAccount default (rule payments allows others, and this one only with allowDefaultServiceAccount)" + tail,
		},
		"a ServiceAccount that is called so": {
			func(c *plan.Client) {
				c.Identities = []plan.Identity{{Issuer: "prod", Subject: "system:serviceaccount:default:not-default"}}
			},
			nothing, "access rule payments allows the app",
		},
		"a grant type":       {func(c *plan.Client) { c.GrantTypes = []string{"password"} }, nothing, head + "grant type password (rule payments allows client_credentials, authorization_code, refresh_token)" + tail},
		"some grant types":   {func(c *plan.Client) { c.GrantTypes = []string{"password", "x"} }, nothing, head + "grant types password, x (rule payments allows client_credentials, authorization_code, refresh_token)" + tail},
		"a host":             {web("https://evil.example/cb"), hosts, head + "redirect URI https://evil.example/cb (redirectHosts has no evil.example: rule payments allows *.example.com, localhost)" + tail},
		"no host":            {web("https://evil.example/cb"), nothing, head + "redirect URI https://evil.example/cb (redirectHosts has no evil.example: rule payments allows none)" + tail},
		"a scheme":           {func(c *plan.Client) { web("com.evil.app:/cb")(c); c.AuthMethod = "none" }, hosts, head + "redirect URI com.evil.app:/cb (redirectSchemes has no com.evil.app: rule payments allows com.example.app)" + tail},
		"a scheme's secret":  {web("com.example.app:/cb"), hosts, head + "redirect URI com.example.app:/cb (a private-use scheme is for clientType Public)" + tail},
		"a URI with a space": {web("https://a.example.com/ "), hosts, head + "redirect URI https://a.example.com/  (must have no fragment, and neither spaces, backslashes nor characters beyond ASCII)" + tail},
		"a scheme's name": {web("myapp:/cb"), hosts, head + "redirect URI myapp:/cb (must begin with https://, with http:// on loopback, or " +
			"for a Public client with a private-use scheme such as com.example.app:/callback)" + tail},
		"two slashes": {web("com.example.app://cb"), hosts, head + "redirect URI com.example.app://cb (must have exactly one slash after a private-use scheme, no host, and whole percent-encodings)" + tail},
		"a user name": {web("https://a@a.example.com/"), hosts, head + "redirect URI https://a@a.example.com/ (must have a host name or address after ://, with neither a user name nor a wildcard, and whole percent-encodings)" + tail},
		"plain http":  {web("http://a.example.com/"), hosts, head + "redirect URI http://a.example.com/ (must be https: http is for localhost, 127.0.0.1 and [::1])" + tail},
		"port 0":      {web("https://a.example.com:0/"), hosts, head + "redirect URI https://a.example.com:0/ (must have a port from 1 to 65535 after the host, or none)" + tail},
		"a way out": {
			func(c *plan.Client) { web()(c); c.PostLogoutRedirectURIs = []string{"https://evil.example/"} }, hosts,
			head + "post-logout redirect URI https://evil.example/ (redirectHosts has no evil.example: rule payments allows *.example.com, localhost)" + tail,
		},
		"an audience":             {func(c *plan.Client) { c.Audience = "everyone" }, nothing, head + "audience everyone (rule payments allows internal)" + tail},
		"an audience of no users": {func(*plan.Client) {}, func(r *v1alpha1.AccessRule) { r.Audiences = []v1alpha1.Audience{"everyone"} }, head + "audience internal (rule payments allows everyone)" + tail},
		"an identity provider":    {func(c *plan.Client) { c.IdentityProviders = []string{"corp"} }, nothing, head + "identity provider corp (rule payments allows none)" + tail},
		"some identity providers": {
			func(c *plan.Client) { c.IdentityProviders = []string{"corp", "a", "b"} },
			func(r *v1alpha1.AccessRule) { r.IdentityProviders = []v1alpha1.Identifier{"corp", "c"} },
			head + "identity providers a, b (rule payments allows corp, c)" + tail,
		},
		"consent":             {func(c *plan.Client) { c.SkipUserConsent = true }, nothing, head + "skipUserConsent (rule payments does not allow it)" + tail},
		"assertions for ever": {func(c *plan.Client) { c.AssertionsWithoutExpiry = true }, nothing, head + "assertionsWithoutExpiry (rule payments does not allow it)" + tail},
		"several things":      {func(c *plan.Client) { c.GrantTypes, c.Audience = []string{"password"}, "everyone" }, nothing, head + "grant type password (rule payments allows client_credentials, authorization_code, refresh_token), audience everyone (rule payments allows internal)" + tail},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			verdict := plan.Judge(client(row.want), plan.Namespace{}, []v1alpha1.AccessRule{rule("payments", row.rule)}, "own")
			require.Equal(t, row.says, verdict.Message())
		})
	}
}

func TestWhatANamespaceWithoutARuleIsTold(t *testing.T) {
	here := plan.Namespace{Labels: map[string]string{"kubernetes.io/metadata.name": "payments"}}
	elsewhere := []v1alpha1.AccessRule{rule("secret-project", func(r *v1alpha1.AccessRule) {
		r.NamespaceSelector.MatchLabels = map[string]v1alpha1.LabelValue{"team": "other"}
	})}
	for _, row := range []struct {
		namespace plan.Namespace
		rules     []v1alpha1.AccessRule
		says      string
	}{
		{here, nil, "the TokenServer has no access rules, so that no app is allowed; ask the platform team for one that selects namespace payments"},
		{here, elsewhere, "no access rule of the TokenServer selects namespace payments by its labels; ask the platform team for such a rule or label"},
		{plan.Namespace{}, elsewhere, "no access rule of the TokenServer selects this namespace by its labels; ask the platform team for such a rule or label"},
	} {
		verdict := plan.Judge(client(), row.namespace, row.rules, "own")
		require.Equal(t, row.says, verdict.Message())
		require.Equal(t, row.says+"; without a rule there is no deletionPolicy Orphan, and the client is deleted with its ConnectedApp", verdict.OrphanMessage())
	}
}

func TestWhatIsSaidAboutAClientThatStays(t *testing.T) {
	orphan := func(policies ...v1alpha1.DeletionPolicy) string {
		return plan.Judge(client(), plan.Namespace{}, []v1alpha1.AccessRule{rule("payments", func(r *v1alpha1.AccessRule) { r.DeletionPolicies = policies })}, "own").OrphanMessage()
	}
	require.Equal(t, "access rule payments allows deletionPolicy Orphan", orphan())
	require.Equal(t, "access rule payments does not allow deletionPolicy Orphan, only Delete, and the client is deleted with its ConnectedApp; "+
		"set deletionPolicy Delete, or ask the platform team to add Orphan to deletionPolicies of the rule", orphan("Delete"))
}

func TestWhatDoesNotFitIsCounted(t *testing.T) {
	want := client(mighty)
	want.RedirectURIs = nil
	for _, path := range "abcdefgh" {
		want.RedirectURIs = append(want.RedirectURIs, "https://evil.example/"+string(path))
	}
	shown := func(path string) string {
		return "redirect URI https://evil.example/" + path + " (redirectHosts has no evil.example: rule payments allows none)"
	}
	require.Equal(t, "no access rule of the TokenServer allows all of the app; the nearest, payments, does not allow "+
		"grant type urn:ietf:params:oauth:grant-type:jwt-bearer (rule payments allows client_credentials, authorization_code, refresh_token), "+
		shown("a")+", "+shown("b")+", "+shown("c")+", "+shown("d")+", and 11 more; "+
		"ask for less in the spec, or ask the platform team to add it to the rule",
		plan.Judge(want, plan.Namespace{}, []v1alpha1.AccessRule{rule("payments")}, "own").Message())
}

// However much a client asks for, the message fits into an Event and ends with
// what to do.
func TestAMessageIsBounded(t *testing.T) {
	want := client(mighty)
	allowed := rule(strings.Repeat("r", 63), func(r *v1alpha1.AccessRule) { r.Scopes = nil })
	for i := range 100 {
		id := fmt.Sprintf("%d%s", i, strings.Repeat("ä", 100))
		want.Scopes = append(want.Scopes, plan.Scope{Name: id, OrganizationID: id, EnvironmentID: id})
		want.IdentityProviders = append(want.IdentityProviders, id)
		want.RedirectURIs = append(want.RedirectURIs, "https://"+strings.Repeat("a", 60)+".example/"+strings.Repeat("b", 1900))
		allowed.Scopes = append(allowed.Scopes, v1alpha1.AccessScope{Scope: "x" + id, OrganizationIDs: []v1alpha1.Identifier{v1alpha1.Identifier(id)}})
		allowed.RedirectHosts = append(allowed.RedirectHosts, v1alpha1.RedirectHost(strings.Repeat("h", 200)+".example"))
		allowed.IdentityProviders = append(allowed.IdentityProviders, v1alpha1.Identifier("x"+id))
	}
	for _, only := range []func(*plan.Client){
		func(*plan.Client) {},
		func(c *plan.Client) { c.RedirectURIs, c.PostLogoutRedirectURIs = nil, nil },
		func(c *plan.Client) { c.RedirectURIs, c.PostLogoutRedirectURIs, c.Scopes = nil, nil, nil },
	} {
		c := want
		c.GrantTypes = slices.Clone(want.GrantTypes)[:1]
		only(&c)
		message := plan.Judge(c, plan.Namespace{}, []v1alpha1.AccessRule{allowed}, "own").Message()
		require.LessOrEqual(t, len(message), 1024)
		require.Contains(t, message, " more; ask for less in the spec, or ask the platform team to add it to the rule")
		require.Equal(t, message, strings.ToValidUTF8(message, ""), "no letter is cut in two")
	}
}
