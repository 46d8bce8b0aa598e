// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"connectedapps.dev/operator/api/v1alpha1"
)

// Verdict is what the access rules of a TokenServer say about a client.
type Verdict struct {
	// Allowed is true when one rule allows all of the client.
	Allowed bool
	// Rule is the rule that allows it, or else the one that comes nearest; empty
	// when none is for the namespace.
	Rule string
	// Missing is what Rule does not allow, for people; nil when Allowed.
	Missing []string
	// Client is the part of the client that Rule allows: all of it when Allowed.
	// It is disabled when nothing useful is left.
	Client Client
	// OrphanAllowed tells whether Rule lets an app leave its client behind.
	OrphanAllowed bool
}

// OrphanMessage says that the rule does not let an app leave its client behind.
func (v Verdict) OrphanMessage() string {
	return fmt.Sprintf("access rule %s does not allow deletionPolicy Orphan; set spec.deletionPolicy to Delete", v.Rule)
}

// Message says why a client is refused, or by which rule it is allowed.
func (v Verdict) Message() string {
	switch {
	case v.Allowed:
		return fmt.Sprintf("access rule %s allows the app", v.Rule)
	case v.Rule == "":
		return "no access rule of the TokenServer is for this namespace"
	}
	const most = 10
	missing := v.Missing
	if len(missing) > most {
		missing = append(slices.Clone(missing[:most]), fmt.Sprintf("and %d more", len(v.Missing)-most))
	}
	return fmt.Sprintf("no access rule of the TokenServer allows all of the app; the nearest, %s, lacks %s", v.Rule, strings.Join(missing, ", "))
}

// Namespace is where an app lives.
type Namespace struct {
	Labels map[string]string
}

// Judge applies the access rules to a client. organizationID is the
// organization apps of the server are registered in.
func Judge(want Client, namespace Namespace, rules []v1alpha1.AccessRule, organizationID string) Verdict {
	nearest := Verdict{Client: disabled(want)}
	for _, rule := range rules {
		if !selects(rule.NamespaceSelector, namespace.Labels) {
			continue
		}
		verdict := judge(want, rule, organizationID)
		if verdict.Allowed {
			return verdict
		}
		if nearest.Rule == "" || len(verdict.Missing) < len(nearest.Missing) {
			nearest = verdict
		}
	}
	return nearest
}

// judge takes from the client what the rule does not allow.
func judge(want Client, rule v1alpha1.AccessRule, organizationID string) Verdict {
	v := Verdict{Rule: rule.Name, Client: want, OrphanAllowed: true}
	v.Client.GrantTypes = keep(&v, want.GrantTypes, func(grant string) string {
		return unless(slices.Contains(rule.GrantTypes, v1alpha1.GrantType(grant)), "grant type "+grant)
	})
	v.Client.RedirectURIs = keep(&v, want.RedirectURIs, func(uri string) string {
		if err := redirectAllowed(uri, want, rule); err != nil {
			return fmt.Sprintf("redirect URI %s (%v)", uri, err)
		}
		return ""
	})
	v.Client.Scopes = keep(&v, want.Scopes, func(scope Scope) string {
		return unless(scopeAllowed(scope, rule.Scopes, organizationID), "scope "+scope.String())
	})
	if !audienceAllowed(want.Audience, rule.Audiences) {
		v.Missing = append(v.Missing, "audience "+want.Audience)
		v.Client.Audience = string(v1alpha1.AudienceInternal)
	}
	v.Allowed = len(v.Missing) == 0
	if len(v.Client.GrantTypes) == 0 || !audienceAllowed(v.Client.Audience, rule.Audiences) {
		v.Client = disabled(want)
	}
	return v
}

// keep returns what of a list is allowed; missing names what is not, for people.
func keep[T any](v *Verdict, list []T, missing func(T) string) []T {
	var kept []T
	for _, item := range list {
		if text := missing(item); text != "" {
			v.Missing = append(v.Missing, text)
		} else {
			kept = append(kept, item)
		}
	}
	return kept
}

func unless(allowed bool, text string) string {
	if allowed {
		return ""
	}
	return text
}

// disabled is what is left of a client of which nothing is allowed. Its grant
// types stay, since servers refuse a client without one.
func disabled(c Client) Client {
	c.Enabled = false
	c.Scopes, c.RedirectURIs = nil, nil
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

func audienceAllowed(audience string, allowed []v1alpha1.Audience) bool {
	if len(allowed) == 0 {
		allowed = []v1alpha1.Audience{v1alpha1.AudienceInternal}
	}
	return slices.Contains(allowed, v1alpha1.Audience(audience))
}
