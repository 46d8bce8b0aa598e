// SPDX-License-Identifier: Apache-2.0

package importer

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"connectedapps.dev/operator/api/v1alpha1"
)

// How much an access rule can list.
const (
	maxRuleScopes  = 200
	maxRuleList    = 100
	maxRuleClients = 1000
)

// accessRules are rules for the namespace that allow the apps and nothing that none
// of them has: one, unless the apps have more than one rule can list.
func accessRules(apps []App, drafts []*draft, o Options) []v1alpha1.AccessRule {
	organization := map[string]string{}
	for _, d := range drafts {
		organization[d.id] = d.organization
	}
	var rules []v1alpha1.AccessRule
	for _, app := range apps {
		if n := len(rules); n > 0 {
			if wider := widened(rules[n-1], app, organization[app.ClientID]); fits(wider) {
				rules[n-1] = wider
				continue
			}
		}
		name := label("import-" + o.Namespace)
		if len(rules) > 0 {
			name += "-" + strconv.Itoa(len(rules)+1)
		}
		rules = append(rules, widened(v1alpha1.AccessRule{
			Name: name,
			NamespaceSelector: v1alpha1.NamespaceSelector{
				MatchLabels: map[string]v1alpha1.LabelValue{corev1.LabelMetadataName: v1alpha1.LabelValue(o.Namespace)},
			},
		}, app, organization[app.ClientID]))
	}
	return rules
}

func fits(rule v1alpha1.AccessRule) bool {
	return len(rule.Scopes) <= maxRuleScopes && len(rule.RedirectHosts) <= maxRuleList && len(rule.RedirectSchemes) <= maxRuleList &&
		len(rule.IdentityProviders) <= maxRuleList && len(rule.ClientIDs) <= maxRuleClients
}

// widened is a rule that allows the app as well.
func widened(rule v1alpha1.AccessRule, app App, organization string) v1alpha1.AccessRule {
	spec := &app.Manifest.Spec
	rule.GrantTypes = union(rule.GrantTypes, spec.GrantTypes...)
	for _, uri := range slices.Concat(spec.RedirectURIs, spec.PostLogoutRedirectURIs) {
		u, err := url.Parse(string(uri))
		switch {
		case err != nil: // it was checked
		case u.Host == "":
			rule.RedirectSchemes = union(rule.RedirectSchemes, v1alpha1.RedirectScheme(u.Scheme))
		default:
			rule.RedirectHosts = union(rule.RedirectHosts, hostOf(u))
		}
	}
	rule.Scopes = slices.Clone(rule.Scopes)
	for _, s := range spec.Scopes {
		rule.Scopes = withScope(rule.Scopes, s, organization)
	}
	audience := spec.Audience
	if audience == "" {
		audience = v1alpha1.AudienceInternal
	}
	rule.Audiences = union(rule.Audiences, audience)
	rule.IdentityProviders = union(rule.IdentityProviders, spec.IdentityProviders...)
	if spec.SkipUserConsent != nil {
		rule.AllowSkipUserConsent = spec.SkipUserConsent
	}
	if spec.AssertionsWithoutExpiry != nil {
		rule.AllowAssertionsWithoutExpiry = spec.AssertionsWithoutExpiry
	}
	if c := spec.Credentials; c != nil && slices.Contains(c.ServiceAccounts, v1alpha1.ServiceAccountReference{Name: "default"}) {
		rule.AllowDefaultServiceAccount = new(true)
	}
	if id := app.Manifest.Annotations[v1alpha1.AnnotationAdoptClientID]; id != "" {
		rule.ClientIDs = union(rule.ClientIDs, v1alpha1.ClientID(id))
	}
	return rule
}

func union[T comparable](list []T, items ...T) []T {
	list = slices.Clone(list)
	for _, item := range items {
		if !slices.Contains(list, item) {
			list = append(list, item)
		}
	}
	return list
}

func hostOf(u *url.URL) v1alpha1.RedirectHost {
	host := strings.ToLower(u.Hostname())
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return v1alpha1.RedirectHost(host)
}

// withScope allows a scope in the context that it is assigned in, and in no other.
func withScope(scopes []v1alpha1.AccessScope, s v1alpha1.ScopeAssignment, organization string) []v1alpha1.AccessScope {
	wanted := v1alpha1.AccessScope{Scope: s.Scope}
	if s.OrganizationID != "" {
		organization = s.OrganizationID
	}
	if organization != "" {
		wanted.OrganizationIDs = []v1alpha1.Identifier{v1alpha1.Identifier(organization)}
	}
	if s.EnvironmentID != "" {
		wanted.EnvironmentIDs = []v1alpha1.Identifier{v1alpha1.Identifier(s.EnvironmentID)}
	}
	for i, has := range scopes {
		if has.Scope != wanted.Scope || !slices.Equal(has.OrganizationIDs, wanted.OrganizationIDs) || (has.EnvironmentIDs == nil) != (wanted.EnvironmentIDs == nil) {
			continue
		}
		has.EnvironmentIDs = union(has.EnvironmentIDs, wanted.EnvironmentIDs...)
		if len(has.EnvironmentIDs) <= maxRuleList {
			scopes[i] = has
			return scopes
		}
	}
	return append(scopes, wanted)
}
