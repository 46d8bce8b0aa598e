// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/plan"
)

// access judges the apps by the access rules that are given, as the manager does.
func (in *inputs) access() {
	if in.Policy == nil {
		return
	}
	for _, app := range in.apps {
		if app.refused {
			continue
		}
		server, ok := in.servers[app.value.TokenServerName()]
		if !ok {
			in.add(app.object, Warning, RuleNoTokenServer, "spec.tokenServerRef", fmt.Sprintf(
				"TokenServer %s is not among those of --policy (%s), so that nobody knows whether the app is allowed",
				app.value.TokenServerName(), cmp.Or(strings.Join(slices.Sorted(maps.Keys(in.servers)), ", "), "which has none")))
			continue
		}
		in.judge(app, server)
	}
}

func (in *inputs) judge(app *typed[*v1alpha1.ConnectedApp], server *v1alpha1.TokenServer) {
	want := plan.Desired(app.value, nil, server.Spec.WorkloadIssuer)
	namespace, given := in.namespace(app.meta.Namespace)
	refusal := func(organization string) string {
		return plan.Refusal(app.value, plan.Judge(want, namespace, server.Spec.Access, organization))
	}
	message := refusal(server.Spec.OrganizationID)
	if message == "" {
		return
	}
	if server.Spec.OrganizationID == "" {
		// Only the server knows the organization that scopes without one are in.
		for _, organization := range organizations(server.Spec.Access) {
			if refusal(organization) == "" {
				in.add(app.object, Warning, RuleOrganization, "spec.scopes", fmt.Sprintf(
					"the app is allowed if its TokenServer is for organization %s, which its spec.organizationID does not say", organization))
				return
			}
		}
	}
	if !given {
		message += fmt.Sprintf(" (no manifest of namespace %s is given, and no --namespace-labels: only its name is known)", app.meta.Namespace)
	}
	in.add(app.object, Error, RuleAccess, "spec", message)
}

// organizations are those that rules name.
func organizations(rules []v1alpha1.AccessRule) []string {
	named := map[string]bool{}
	for _, rule := range rules {
		for _, scope := range rule.Scopes {
			for _, id := range scope.OrganizationIDs {
				named[string(id)] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(named))
}

// namespace is what is known of a namespace, and whether somebody said it.
func (in *inputs) namespace(name string) (namespace plan.Namespace, given bool) {
	labels, given := in.labels[name]
	if !given {
		labels, given = in.NamespaceLabels, in.NamespaceLabels != nil
	}
	all := maps.Clone(labels)
	if all == nil {
		all = map[string]string{}
	}
	all[corev1.LabelMetadataName] = name // the API server sees to it
	return plan.Namespace{Labels: all}, given
}

// checkTokens judges AccessTokens by the apps that they name.
func (in *inputs) checkTokens() {
	for _, token := range in.tokens {
		if token.refused {
			continue
		}
		name := token.value.Spec.ConnectedAppRef.Name
		i := slices.IndexFunc(in.apps, func(app *typed[*v1alpha1.ConnectedApp]) bool {
			return app.meta.Namespace == token.meta.Namespace && app.meta.Name == name
		})
		if i < 0 {
			in.add(token.object, Warning, RuleNoApp, "spec.connectedAppRef.name", fmt.Sprintf(
				"there is no ConnectedApp %s in namespace %s among the manifests; the token waits until there is one", name, token.meta.Namespace))
			continue
		}
		if app := in.apps[i]; !app.refused {
			if _, message := plan.TokenUnfit(app.value, token.value); message != "" {
				in.add(token.object, Error, RuleTokenUnfit, "spec.connectedAppRef.name", message)
			}
		}
	}
}
