// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
)

// Verdict is what the access rules of a TokenServer say about a client.
type Verdict struct {
	// Allowed is true when one rule allows all of the client.
	Allowed bool
	// Rule is the rule that allows it, or else the one that comes nearest; empty
	// when none is for the namespace.
	Rule string
	// Missing is what Rule does not allow and what it allows instead, for people;
	// nil when Allowed.
	Missing []string
	// Client is the part of the client that Rule allows: all of it when Allowed.
	// It is disabled when nothing useful is left.
	Client Client
	// OrphanAllowed tells whether Rule lets the client outlive its object
	// (deletionPolicy Orphan); false when there is no rule.
	OrphanAllowed bool

	// none says why there is no rule for the namespace.
	none string
	// lacks counts what is missing; works tells whether what is left can be used.
	lacks int
	works bool
}

// Namespace is where an app lives.
type Namespace struct {
	Labels map[string]string
}

func (n Namespace) String() string {
	if name := n.Labels[corev1.LabelMetadataName]; name != "" {
		return "namespace " + name
	}
	return "this namespace"
}

// Judge applies the access rules to a client: one that is wanted, or one that is
// on a server. organizationID is the organization apps of the server are
// registered in.
func Judge(want Client, namespace Namespace, rules []v1alpha1.AccessRule, organizationID string) Verdict {
	best := Verdict{Client: disabled(want), none: noRule(namespace, rules)}
	for _, rule := range RulesFor(namespace, rules) {
		if verdict := judge(want, rule, organizationID); best.Rule == "" || verdict.better(best) {
			best = verdict
		}
	}
	return best
}

// RulesFor are the rules for a namespace, in their order.
func RulesFor(namespace Namespace, rules []v1alpha1.AccessRule) []v1alpha1.AccessRule {
	chosen, _ := split(rules, func(rule v1alpha1.AccessRule) bool { return selects(rule.NamespaceSelector, namespace.Labels) })
	return chosen
}

// better tells whether v leaves more of the client than other: all of it, and of
// two that do so the one that lets it outlive its object; else a client that still
// works, or that lacks less.
func (v Verdict) better(other Verdict) bool {
	switch {
	case v.Allowed != other.Allowed:
		return v.Allowed
	case v.Allowed:
		return v.OrphanAllowed && !other.OrphanAllowed
	case v.works != other.works:
		return v.works
	}
	return v.lacks < other.lacks
}

// judge takes from the client what the rule does not allow.
func judge(want Client, rule v1alpha1.AccessRule, organizationID string) Verdict {
	v := Verdict{Rule: rule.Name, Client: want}
	v.OrphanAllowed = len(rule.DeletionPolicies) == 0 || slices.Contains(rule.DeletionPolicies, v1alpha1.DeletionOrphan)
	c := &v.Client
	c.GrantTypes = v.keepListed("grant type", want.GrantTypes, names(rule.GrantTypes))
	c.RedirectURIs = v.keepURIs("redirect URI", want.RedirectURIs, rule)
	c.PostLogoutRedirectURIs = v.keepURIs("post-logout redirect URI", want.PostLogoutRedirectURIs, rule)
	c.Scopes = v.keepScopes(want.Scopes, rule.Scopes, organizationID)
	audiences := names(rule.Audiences)
	if len(audiences) == 0 {
		audiences = []string{string(v1alpha1.AudienceInternal)}
	}
	if len(v.keepListed("audience", []string{want.Audience}, audiences)) == 0 {
		c.Audience = string(v1alpha1.AudienceInternal)
	}
	c.IdentityProviders = v.keepListed("identity provider", want.IdentityProviders, names(rule.IdentityProviders))
	c.SkipUserConsent = v.keepFlag("skipUserConsent", want.SkipUserConsent, rule.AllowSkipUserConsent)
	c.AssertionsWithoutExpiry = v.keepFlag("assertionsWithoutExpiry", want.AssertionsWithoutExpiry, rule.AllowAssertionsWithoutExpiry)
	c.Identities = v.keepIdentities(want.Identities, rule)
	v.Allowed = v.lacks == 0
	v.works = getsTokens(*c) && slices.Contains(audiences, c.Audience) && !losesAll(want, *c)
	if !v.Allowed && !v.works {
		v.Client = disabled(want)
	}
	return v
}

// keepListed keeps what is in allowed.
func (v *Verdict) keepListed(kind string, list, allowed []string) []string {
	kept, missing := split(list, func(item string) bool { return slices.Contains(allowed, item) })
	if len(missing) > 0 {
		v.lack(kind, missing, allows(v.Rule, allowed))
	}
	return kept
}

func (v *Verdict) keepURIs(kind string, list []string, rule v1alpha1.AccessRule) []string {
	kept, missing := split(list, func(uri string) bool { return redirectAllowed(uri, v.Client, rule) == nil })
	for _, uri := range missing {
		v.lack(kind, []string{uri}, redirectAllowed(uri, v.Client, rule).Error())
	}
	return kept
}

func (v *Verdict) keepFlag(field string, want bool, allowed *bool) bool {
	if want && !isTrue(allowed) {
		v.lackFlag(field)
	}
	return want && isTrue(allowed)
}

// keepIdentities drops the ServiceAccount that Pods have without asking for it.
func (v *Verdict) keepIdentities(list []Identity, rule v1alpha1.AccessRule) []Identity {
	kept, missing := split(list, func(i Identity) bool { return !i.isDefault() || isTrue(rule.AllowDefaultServiceAccount) })
	if len(missing) > 0 {
		v.lack("ServiceAccount", []string{defaultServiceAccount}, fmt.Sprintf("rule %s allows others, and this one only with allowDefaultServiceAccount", v.Rule))
	}
	return kept
}

// keepScopes tells a scope that is not allowed at all from one that is allowed
// in another context.
func (v *Verdict) keepScopes(list []Scope, allowed []v1alpha1.AccessScope, organizationID string) []Scope {
	kept, missing := split(list, func(s Scope) bool { return scopeAllowed(s, allowed, organizationID) })
	var unknown []string
	for _, s := range missing {
		elsewhere, _ := split(allowed, func(a v1alpha1.AccessScope) bool { return nameMatches(s.Name, a.Scope) })
		if len(elsewhere) == 0 {
			unknown = append(unknown, s.String())
			continue
		}
		v.lack("scope", []string{s.String()}, allows(v.Rule, AccessScopes(elsewhere)))
	}
	if len(unknown) > 0 {
		v.lack("scope", unknown, allows(v.Rule, AccessScopes(allowed)))
	}
	return kept
}

// split returns what of a list is allowed, and what is not.
func split[T any](list []T, allowed func(T) bool) (kept, missing []T) {
	for _, item := range list {
		if allowed(item) {
			kept = append(kept, item)
		} else {
			missing = append(missing, item)
		}
	}
	return kept, missing
}

// getsTokens tells whether the client can get a token that it does not have yet.
func getsTokens(c Client) bool {
	return slices.ContainsFunc(c.GrantTypes, func(grant string) bool { return grant != oauth.GrantRefreshToken })
}

// losesAll tells whether left, of a client like want, is one that nobody can
// authenticate as any more.
func losesAll(want, left Client) bool {
	return len(want.Identities) > 0 && len(left.Identities) == 0 && len(left.PublicKeys) == 0 && !left.HasSecret()
}

// disabled is what is left of a client of which nothing is allowed. Its grant
// types stay, since servers refuse a client without one.
func disabled(c Client) Client {
	c.Enabled = false
	c.Scopes, c.RedirectURIs, c.PostLogoutRedirectURIs, c.IdentityProviders, c.Identities = nil, nil, nil, nil, nil
	c.SkipUserConsent, c.AssertionsWithoutExpiry = false, false
	c.Audience = string(v1alpha1.AudienceInternal)
	return c
}

func selects(selector v1alpha1.NamespaceSelector, namespace map[string]string) bool {
	converted := &metav1.LabelSelector{MatchLabels: map[string]string{}}
	for k, v := range selector.MatchLabels {
		converted.MatchLabels[k] = string(v)
	}
	for _, e := range selector.MatchExpressions {
		converted.MatchExpressions = append(converted.MatchExpressions,
			metav1.LabelSelectorRequirement{Key: e.Key, Operator: e.Operator, Values: names(e.Values)})
	}
	compiled, err := metav1.LabelSelectorAsSelector(converted)
	// A selector that says nothing sensible selects nothing: an error must not
	// open a door.
	return err == nil && compiled.Matches(labels.Set(namespace))
}

func scopeAllowed(scope Scope, allowed []v1alpha1.AccessScope, organizationID string) bool {
	if scope.OrganizationID == "" {
		scope.OrganizationID = organizationID
	}
	return slices.ContainsFunc(allowed, func(a v1alpha1.AccessScope) bool {
		return nameMatches(scope.Name, a.Scope) &&
			(len(a.OrganizationIDs) == 0 || slices.Contains(a.OrganizationIDs, v1alpha1.Identifier(scope.OrganizationID))) &&
			(len(a.EnvironmentIDs) == 0 || slices.Contains(a.EnvironmentIDs, v1alpha1.Identifier(scope.EnvironmentID)))
	})
}

// nameMatches compares a scope's name with a pattern whose only wildcard is a
// trailing '*'.
func nameMatches(name, pattern string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(name, prefix)
	}
	return name == pattern
}
