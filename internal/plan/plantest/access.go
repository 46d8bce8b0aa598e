// SPDX-License-Identifier: Apache-2.0

package plantest

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/plan"
)

// OrganizationID is the organization that the requests' apps are registered in.
const OrganizationID = "own"

// Request is an app that somebody asks for, the access rules of its TokenServer,
// and what a reader of both must make of it.
type Request struct {
	// Name says in a sentence what is special about it.
	Name string
	// Spec is the app's, but for its TokenServer.
	Spec v1alpha1.ConnectedAppSpec
	// Labels are those of the namespace, beside its name.
	Labels map[string]string
	// Rules are the access rules.
	Rules []v1alpha1.AccessRule
	// Allowed tells whether one rule allows all of the app.
	Allowed bool
	// Schema is a part of the message by which the CRD refuses the app before
	// anybody asks for rules; empty: it does not.
	Schema string
}

// App is the app of the request in a namespace.
func (r Request) App(namespace string) *v1alpha1.ConnectedApp {
	return &v1alpha1.ConnectedApp{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "app"}, Spec: *r.Spec.DeepCopy()}
}

// Judge is the plan's verdict on an app: whether a rule allows all of it, its
// deletionPolicy included, and which rule comes nearest otherwise.
func Judge(app *v1alpha1.ConnectedApp, labels map[string]string, rules []v1alpha1.AccessRule, organizationID string) (allowed bool, rule string) {
	verdict := plan.Judge(plan.Desired(app, nil, "prod"), plan.Namespace{Labels: labels}, rules, organizationID)
	return verdict.Allowed && (verdict.OrphanAllowed || app.Spec.DeletionPolicy != v1alpha1.DeletionOrphan), verdict.Rule
}

// Requests are requests of which many attack a reader: each asks for more than
// its rules allow and looks as if it did not, or the other way round.
func Requests() []Request {
	var all []Request
	for _, part := range [][]Request{redirectRequests(), scopeRequests(), contextRequests(), powerRequests(), selectorRequests()} {
		all = append(all, part...)
	}
	return all
}

func native(uri string) v1alpha1.ConnectedAppSpec {
	return v1alpha1.ConnectedAppSpec{
		ClientType: v1alpha1.ClientPublic, GrantTypes: []v1alpha1.GrantType{"authorization_code"}, RedirectURIs: []v1alpha1.RedirectURI{v1alpha1.RedirectURI(uri)},
	}
}

// itself is an app that acts for itself.
func itself(scopes ...v1alpha1.ScopeAssignment) v1alpha1.ConnectedAppSpec {
	return v1alpha1.ConnectedAppSpec{GrantTypes: []v1alpha1.GrantType{"client_credentials"}, Scopes: scopes}
}

func scope(name string) v1alpha1.ScopeAssignment { return v1alpha1.ScopeAssignment{Scope: name} }

// Rule is an access rule for every namespace and the usual grant types.
func Rule(name string, change ...func(*v1alpha1.AccessRule)) v1alpha1.AccessRule {
	r := v1alpha1.AccessRule{Name: name, GrantTypes: []v1alpha1.GrantType{"client_credentials", "authorization_code", "refresh_token"}}
	for _, f := range change {
		f(&r)
	}
	return r
}

func hosts(list ...v1alpha1.RedirectHost) func(*v1alpha1.AccessRule) {
	return func(r *v1alpha1.AccessRule) { r.RedirectHosts = list }
}

func schemes(list ...v1alpha1.RedirectScheme) func(*v1alpha1.AccessRule) {
	return func(r *v1alpha1.AccessRule) { r.RedirectSchemes = list }
}

func scopes(list ...string) func(*v1alpha1.AccessRule) {
	return func(r *v1alpha1.AccessRule) {
		for _, s := range list {
			r.Scopes = append(r.Scopes, v1alpha1.AccessScope{Scope: s})
		}
	}
}

// redirectRequests ask for each of RedirectURIs, before and after signing out,
// under the entry of its own and under entries that only look like it.
func redirectRequests() []Request {
	others := []v1alpha1.AccessRule{
		Rule("others", hosts("app.example", "*.app.example.com", "com.example.app", "localhost.example"), schemes("com.example", "com.example.app.x")),
		Rule("more", hosts("*.evil.example.com", "*.127.0.0.1", "xample.com"), schemes("app.example", "example.app.com")),
	}
	var all []Request
	for _, row := range RedirectURIs() {
		spec := native(row.URI)
		all = append(all, Request{Name: row.Name + ", beside other entries", Spec: spec, Rules: others, Schema: row.Says})
		if row.Host == "" && row.Scheme == "" {
			continue
		}
		own := Rule("own")
		if row.Host != "" {
			own.RedirectHosts = []v1alpha1.RedirectHost{v1alpha1.RedirectHost(row.Host)}
		} else {
			own.RedirectSchemes = []v1alpha1.RedirectScheme{v1alpha1.RedirectScheme(row.Scheme)}
		}
		after := native("http://localhost/")
		after.PostLogoutRedirectURIs = spec.RedirectURIs
		local := *own.DeepCopy()
		if row.Host != "localhost" {
			local.RedirectHosts = append(local.RedirectHosts, "localhost")
		}
		all = append(all,
			Request{Name: row.Name + ", under its own entry", Spec: spec, Rules: []v1alpha1.AccessRule{own}, Allowed: true},
			Request{Name: row.Name + ", after signing out", Spec: after, Rules: []v1alpha1.AccessRule{local}, Allowed: true},
			Request{Name: row.Name + ", after signing out, beside other entries", Spec: after, Rules: []v1alpha1.AccessRule{Rule("a", hosts("localhost", "app.example"))},
				Allowed: row.Host == "localhost"},
		)
	}
	wild := []v1alpha1.AccessRule{Rule("wild", hosts("*.example.com"))}
	for _, row := range []struct {
		name, uri string
		allowed   bool
	}{
		{"a wildcard is for one label", "https://a.example.com/", true},
		{"a wildcard is for two labels", "https://a.b.example.com/", true},
		{"a wildcard compares no case", "https://A.EXAMPLE.com:8443/", true},
		{"a wildcard is not for no label", "https://example.com/", false},
		{"a wildcard needs its dot", "https://evilexample.com/", false},
		{"a wildcard is not for what follows", "https://a.example.com.evil.example/", false},
	} {
		all = append(all, Request{Name: row.name, Spec: native(row.uri), Rules: wild, Allowed: row.allowed})
	}
	long := "https://app.example.com/" + strings.Repeat("a", 2000-len("https://app.example.com/"))
	confidential := native("com.example.app:/callback")
	confidential.ClientType = ""
	return append(all,
		Request{Name: "the longest redirect URI", Spec: native(long), Rules: wild, Allowed: true},
		Request{Name: "a redirect URI that is too long", Spec: native(long + "a"), Rules: others, Schema: "2000"},
		Request{Name: "a host of one rule and a scheme of another", Spec: v1alpha1.ConnectedAppSpec{
			ClientType: v1alpha1.ClientPublic, GrantTypes: []v1alpha1.GrantType{"authorization_code"},
			RedirectURIs: []v1alpha1.RedirectURI{"https://a.example.com/", "com.example.app:/callback"},
		}, Rules: []v1alpha1.AccessRule{wild[0], Rule("b", schemes("com.example.app"))}},
		Request{Name: "a private-use scheme of a confidential client", Spec: confidential, Rules: []v1alpha1.AccessRule{Rule("a", schemes("com.example.app"))}, Schema: "is for clientType Public"},
	)
}

func scopeRequests() []Request {
	usual := []v1alpha1.AccessRule{Rule("usual", scopes("profile", "view:*"))}
	user := func(names ...string) v1alpha1.ConnectedAppSpec {
		spec := native("http://localhost/")
		for _, n := range names {
			spec.Scopes = append(spec.Scopes, scope(n))
		}
		return spec
	}
	local := []v1alpha1.AccessRule{Rule("local", hosts("localhost"), scopes("view:*"))}
	return []Request{
		{Name: "no scope", Spec: itself(), Rules: []v1alpha1.AccessRule{Rule("a")}, Allowed: true},
		{Name: "a scope by its name", Spec: itself(scope("profile"), scope("view:clients")), Rules: usual, Allowed: true},
		{Name: "a scope that is not allowed", Spec: itself(scope("view:clients"), scope("full")), Rules: usual},
		{Name: "a scope where no scope is", Spec: itself(scope("view:clients")), Rules: []v1alpha1.AccessRule{Rule("a")}},
		{Name: "the wildcard's own prefix", Spec: itself(scope("view:")), Rules: usual, Allowed: true},
		{Name: "a wildcard as a scope's name", Spec: itself(scope("view:*")), Rules: usual, Allowed: true},
		{Name: "a star as a scope's name", Spec: itself(scope("*")), Rules: usual},
		{Name: "less than the wildcard's prefix", Spec: itself(scope("view")), Rules: usual},
		{Name: "a wildcard is not for what precedes", Spec: itself(scope("review:clients")), Rules: usual},
		{Name: "a wildcard is one at the end only", Spec: itself(scope("a*b:*")), Rules: []v1alpha1.AccessRule{Rule("a", scopes("a:*"))}},
		{Name: "a scope compares the case", Spec: itself(scope("VIEW:clients")), Rules: usual},
		{Name: "a scope that begins like one", Spec: itself(scope("view:a")), Rules: []v1alpha1.AccessRule{Rule("a", scopes("view:"))}},
		{Name: "a star allows all", Spec: itself(scope("full"), scope("*")), Rules: []v1alpha1.AccessRule{Rule("a", scopes("*"))}, Allowed: true},
		{Name: "two scopes of two rules", Spec: itself(scope("a"), scope("b")), Rules: []v1alpha1.AccessRule{Rule("a", scopes("a")), Rule("b", scopes("b"))}},
		{Name: "a scope of the second rule", Spec: itself(scope("b")), Rules: []v1alpha1.AccessRule{Rule("a", scopes("a")), Rule("b", scopes("b"))}, Allowed: true},
		{Name: "profile of an app that acts for itself", Spec: itself(scope("profile")), Rules: []v1alpha1.AccessRule{Rule("a")}, Allowed: true},
		{Name: "profile in an organization", Spec: itself(v1alpha1.ScopeAssignment{Scope: "profile", OrganizationID: "o"}), Rules: []v1alpha1.AccessRule{Rule("a")}},
		{Name: "profile of an app that acts for users", Spec: user("profile"), Rules: local},
		{Name: "a scope twice", Spec: itself(scope("full"), scope("full")), Rules: usual},
		{Name: "a scope with a space", Spec: itself(scope("full view:a")), Rules: usual, Schema: "should match"},
		{Name: "a scope with a line end", Spec: itself(scope("full\nview:a")), Rules: usual, Schema: "should match"},
		{Name: "a scope with a quote", Spec: itself(scope(`"view:a`)), Rules: usual, Schema: "should match"},
	}
}

func contextRequests() []Request {
	in := func(organization, environment string) v1alpha1.ConnectedAppSpec {
		return itself(v1alpha1.ScopeAssignment{Scope: "view:a", OrganizationID: organization, EnvironmentID: environment})
	}
	within := func(organizations, environments []v1alpha1.Identifier) []v1alpha1.AccessRule {
		return []v1alpha1.AccessRule{Rule("a", func(r *v1alpha1.AccessRule) {
			r.Scopes = []v1alpha1.AccessScope{{Scope: "view:*", OrganizationIDs: organizations, EnvironmentIDs: environments}}
		})}
	}
	ids := func(list ...v1alpha1.Identifier) []v1alpha1.Identifier { return list }
	user := native("http://localhost/")
	user.Scopes = in("o", "").Scopes
	return []Request{
		{Name: "any organization", Spec: in("o", ""), Rules: within(nil, nil), Allowed: true},
		{Name: "an organization that is listed", Spec: in("o", ""), Rules: within(ids("x", "o"), nil), Allowed: true},
		{Name: "another organization", Spec: in("p", ""), Rules: within(ids("o"), nil)},
		{Name: "another organization than the app's own", Spec: in("p", ""), Rules: within(ids(OrganizationID), nil)},
		{Name: "no organization is the app's own", Spec: in("", ""), Rules: within(ids(OrganizationID), nil), Allowed: true},
		{Name: "no organization where another is listed", Spec: in("", ""), Rules: within(ids("o"), nil)},
		{Name: "an organization that begins like one", Spec: in("o2", ""), Rules: within(ids("o"), nil)},
		{Name: "an organization is no pattern", Spec: in("o2", ""), Rules: within(ids("o*", "*"), nil)},
		{Name: "an environment that is listed", Spec: in("", "e"), Rules: within(nil, ids("e")), Allowed: true},
		{Name: "another environment", Spec: in("", "f"), Rules: within(nil, ids("e"))},
		{Name: "no environment where one is needed", Spec: in("", ""), Rules: within(nil, ids("e"))},
		{Name: "an environment's id as an organization", Spec: in("e", ""), Rules: within(nil, ids("e"))},
		{Name: "an environment where any is allowed", Spec: in("", "e"), Rules: within(nil, nil), Allowed: true},
		{Name: "an environment of another organization", Spec: in("p", "e"), Rules: within(ids("o"), ids("e"))},
		{Name: "organization and environment of two entries", Spec: in("o", "f"), Rules: []v1alpha1.AccessRule{Rule("a", func(r *v1alpha1.AccessRule) {
			r.Scopes = []v1alpha1.AccessScope{
				{Scope: "view:*", OrganizationIDs: ids("o"), EnvironmentIDs: ids("e")}, {Scope: "view:*", OrganizationIDs: ids("p"), EnvironmentIDs: ids("f")},
			}
		})}},
		{Name: "an organization for an app that acts for users", Spec: user, Rules: within(nil, nil), Schema: "organizationID and environmentID are for apps with client_credentials"},
	}
}

func powerRequests() []Request {
	all := []v1alpha1.GrantType{"authorization_code", "refresh_token", "password", "urn:ietf:params:oauth:grant-type:jwt-bearer", "client_credentials"}
	web := func(change func(*v1alpha1.ConnectedAppSpec)) v1alpha1.ConnectedAppSpec {
		spec := v1alpha1.ConnectedAppSpec{GrantTypes: []v1alpha1.GrantType{"authorization_code"}, RedirectURIs: []v1alpha1.RedirectURI{"https://a.example.com/"}}
		change(&spec)
		return spec
	}
	bearer := func(change func(*v1alpha1.ConnectedAppSpec)) v1alpha1.ConnectedAppSpec {
		spec := v1alpha1.ConnectedAppSpec{GrantTypes: []v1alpha1.GrantType{"urn:ietf:params:oauth:grant-type:jwt-bearer"}, PublicKeys: []v1alpha1.PublicKey{
			{ConfigMapRef: &v1alpha1.ConfigMapKeyReference{Name: "keys", Key: "key.pem"}},
		}}
		change(&spec)
		return spec
	}
	rule := func(change ...func(*v1alpha1.AccessRule)) []v1alpha1.AccessRule {
		r := Rule("a", hosts("*.example.com"))
		r.GrantTypes = all
		for _, f := range change {
			f(&r)
		}
		return []v1alpha1.AccessRule{r}
	}
	audiences := func(list ...v1alpha1.Audience) func(*v1alpha1.AccessRule) {
		return func(r *v1alpha1.AccessRule) { r.Audiences = list }
	}
	deletion := func(list ...v1alpha1.DeletionPolicy) func(*v1alpha1.AccessRule) {
		return func(r *v1alpha1.AccessRule) { r.DeletionPolicies = list }
	}
	grants := func(list ...v1alpha1.GrantType) func(*v1alpha1.AccessRule) {
		return func(r *v1alpha1.AccessRule) { r.GrantTypes = list }
	}
	everyone := web(func(s *v1alpha1.ConnectedAppSpec) { s.Audience = v1alpha1.AudienceEveryone })
	internal := web(func(s *v1alpha1.ConnectedAppSpec) { s.Audience = v1alpha1.AudienceInternal })
	nothing := web(func(*v1alpha1.ConnectedAppSpec) {})
	corp := bearer(func(s *v1alpha1.ConnectedAppSpec) { s.IdentityProviders = []v1alpha1.Identifier{"corp"} })
	forEver := bearer(func(s *v1alpha1.ConnectedAppSpec) { s.AssertionsWithoutExpiry = new(true) })
	silent := web(func(s *v1alpha1.ConnectedAppSpec) { s.SkipUserConsent = new(true) })
	orphan := web(func(s *v1alpha1.ConnectedAppSpec) { s.DeletionPolicy = v1alpha1.DeletionOrphan })
	providers := func(list ...v1alpha1.Identifier) func(*v1alpha1.AccessRule) {
		return func(r *v1alpha1.AccessRule) { r.IdentityProviders = list }
	}
	accounts := func(names ...string) v1alpha1.ConnectedAppSpec {
		spec := itself()
		spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsServiceAccount}
		for _, name := range names {
			spec.Credentials.ServiceAccounts = append(spec.Credentials.ServiceAccounts, v1alpha1.ServiceAccountReference{Name: name})
		}
		return spec
	}
	allowDefault := func(r *v1alpha1.AccessRule) { r.AllowDefaultServiceAccount = new(true) }
	return []Request{
		{Name: "no rule at all", Spec: nothing},
		{Name: "a grant type that is not listed", Spec: nothing, Rules: rule(grants("client_credentials"))},
		{Name: "one of two grant types", Spec: web(func(s *v1alpha1.ConnectedAppSpec) { s.GrantTypes = append(s.GrantTypes, "password") }), Rules: rule(grants("authorization_code"))},
		{Name: "grant types of two rules", Spec: web(func(s *v1alpha1.ConnectedAppSpec) { s.GrantTypes = append(s.GrantTypes, "password") }),
			Rules: append(rule(grants("authorization_code")), Rule("b", hosts("*.example.com"), grants("password")))},
		{Name: "a grant type by another name", Spec: web(func(s *v1alpha1.ConnectedAppSpec) { s.GrantTypes[0] = "Authorization_Code" }), Rules: rule(), Schema: "Unsupported value"},
		{Name: "everyone where nothing is said", Spec: everyone, Rules: rule()},
		{Name: "everyone where internal is listed", Spec: everyone, Rules: rule(audiences("internal"))},
		{Name: "everyone where it is listed", Spec: everyone, Rules: rule(audiences("everyone")), Allowed: true},
		{Name: "internal where everyone is listed", Spec: internal, Rules: rule(audiences("everyone"))},
		{Name: "nothing said where everyone is listed", Spec: nothing, Rules: rule(audiences("everyone"))},
		{Name: "nothing said on both sides", Spec: nothing, Rules: rule(), Allowed: true},
		{Name: "an empty list of audiences is none said", Spec: internal, Rules: rule(audiences()), Allowed: true},
		{Name: "an identity provider that is not listed", Spec: corp, Rules: rule(providers("partner"))},
		{Name: "an identity provider where none is", Spec: corp, Rules: rule()},
		{Name: "an identity provider that is listed", Spec: corp, Rules: rule(providers("partner", "corp")), Allowed: true},
		{Name: "an identity provider is no pattern", Spec: corp, Rules: rule(providers("*", "cor*"))},
		{Name: "assertions for ever", Spec: forEver, Rules: rule()},
		{Name: "assertions for ever where it is false", Spec: forEver, Rules: rule(func(r *v1alpha1.AccessRule) { r.AllowAssertionsWithoutExpiry = new(false) })},
		{Name: "assertions for ever where they are allowed", Spec: forEver, Rules: rule(func(r *v1alpha1.AccessRule) { r.AllowAssertionsWithoutExpiry = new(true) }), Allowed: true},
		{Name: "no consent", Spec: silent, Rules: rule(func(r *v1alpha1.AccessRule) { r.AllowAssertionsWithoutExpiry = new(true) })},
		{Name: "no consent where that is allowed", Spec: silent, Rules: rule(func(r *v1alpha1.AccessRule) { r.AllowSkipUserConsent = new(true) }), Allowed: true},
		{Name: "consent, as said", Spec: web(func(s *v1alpha1.ConnectedAppSpec) { s.SkipUserConsent = new(false) }), Rules: rule(), Allowed: true},
		{Name: "a ServiceAccount", Spec: accounts("gitproxy", "default-2"), Rules: rule(), Allowed: true},
		{Name: "the ServiceAccount default", Spec: accounts("default"), Rules: rule()},
		{Name: "the ServiceAccount default among others", Spec: accounts("a", "b", "default"), Rules: rule()},
		{Name: "the ServiceAccount default where it is false", Spec: accounts("default"), Rules: rule(func(r *v1alpha1.AccessRule) { r.AllowDefaultServiceAccount = new(false) })},
		{Name: "the ServiceAccount default where other power is given", Spec: accounts("default"), Rules: rule(func(r *v1alpha1.AccessRule) { r.AllowSkipUserConsent = new(true) })},
		{Name: "the ServiceAccount default where it is allowed", Spec: accounts("a", "default"), Rules: rule(allowDefault), Allowed: true},
		{Name: "the ServiceAccount default by another rule than the rest", Spec: accounts("default"), Rules: append(rule(grants("password"), allowDefault), Rule("b"))},
		{Name: "the ServiceAccount default in upper case", Spec: accounts("Default"), Rules: rule(), Allowed: true, Schema: "should match"},
		{Name: "the ServiceAccount default of another namespace", Spec: accounts("kube-system:default"), Rules: rule(allowDefault), Allowed: true, Schema: "should match"},
		{Name: "Orphan where nothing is said", Spec: orphan, Rules: rule(), Allowed: true},
		{Name: "Orphan where Delete is listed", Spec: orphan, Rules: rule(deletion("Delete"))},
		{Name: "Orphan where both are listed", Spec: orphan, Rules: rule(deletion("Delete", "Orphan")), Allowed: true},
		{Name: "Delete where Orphan is listed", Spec: nothing, Rules: rule(deletion("Orphan")), Allowed: true},
		{Name: "Orphan by another rule than the rest", Spec: orphan, Rules: append(rule(deletion("Delete")), Rule("b"))},
		{Name: "Orphan by the second of two that allow the rest", Spec: orphan, Rules: append(rule(deletion("Delete")), Rule("b", hosts("a.example.com"))), Allowed: true},
		{Name: "an app that is switched off all the same", Spec: web(func(s *v1alpha1.ConnectedAppSpec) { s.Enabled, s.Suspend = new(false), new(true) }), Rules: rule(grants("password"))},
	}
}

func selectorRequests() []Request {
	selects := func(s v1alpha1.NamespaceSelector) []v1alpha1.AccessRule {
		return []v1alpha1.AccessRule{Rule("a", func(r *v1alpha1.AccessRule) { r.NamespaceSelector = s })}
	}
	labels := func(l map[string]v1alpha1.LabelValue) []v1alpha1.AccessRule {
		return selects(v1alpha1.NamespaceSelector{MatchLabels: l})
	}
	expression := func(key string, operator metav1.LabelSelectorOperator, values ...v1alpha1.LabelValue) []v1alpha1.AccessRule {
		return selects(v1alpha1.NamespaceSelector{MatchExpressions: []v1alpha1.NamespaceSelectorRequirement{{Key: key, Operator: operator, Values: values}}})
	}
	team := map[string]string{"team": "payments", "example.com/stage": ""}
	var all []Request
	for _, row := range []struct {
		name    string
		rules   []v1alpha1.AccessRule
		allowed bool
	}{
		{"a label", labels(map[string]v1alpha1.LabelValue{"team": "payments"}), true},
		{"an empty label", labels(map[string]v1alpha1.LabelValue{"example.com/stage": ""}), true},
		{"another label", labels(map[string]v1alpha1.LabelValue{"team": "orders"}), false},
		{"a label that begins like it", labels(map[string]v1alpha1.LabelValue{"team": "pay"}), false},
		{"a label that is not there", labels(map[string]v1alpha1.LabelValue{"tier": "payments"}), false},
		{"one of two labels", labels(map[string]v1alpha1.LabelValue{"team": "payments", "tier": "a"}), false},
		{"In", expression("team", "In", "orders", "payments"), true},
		{"In others", expression("team", "In", "orders"), false},
		{"In of a label that is not there", expression("tier", "In", "payments"), false},
		{"NotIn", expression("team", "NotIn", "payments"), false},
		{"NotIn others", expression("team", "NotIn", "orders"), true},
		{"NotIn of a label that is not there", expression("tier", "NotIn", "payments"), true},
		{"Exists", expression("example.com/stage", "Exists"), true},
		{"Exists of a label that is not there", expression("tier", "Exists"), false},
		{"DoesNotExist", expression("team", "DoesNotExist"), false},
		{"DoesNotExist of a label that is not there", expression("tier", "DoesNotExist"), true},
		{"a key that no label can have", expression("a b", "DoesNotExist"), false},
		{"a key with two slashes", expression("a/b/c", "NotIn", "x"), false},
		{"a value that no label can have", expression("team", "NotIn", "a b"), false},
		{"a value that no label can have among others", expression("team", "In", "payments", "-"), false},
		{"a label and an expression that fails", selects(v1alpha1.NamespaceSelector{
			MatchLabels:      map[string]v1alpha1.LabelValue{"team": "payments"},
			MatchExpressions: []v1alpha1.NamespaceSelectorRequirement{{Key: "team", Operator: "Exists"}, {Key: "tier", Operator: "Exists"}},
		}), false},
	} {
		all = append(all, Request{Name: "a namespace by " + row.name, Spec: itself(), Labels: team, Rules: row.rules, Allowed: row.allowed})
	}
	return all
}
