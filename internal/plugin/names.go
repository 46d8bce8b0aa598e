// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
)

// Names are those of the ConnectedApps of the namespace, and of its AccessTokens if
// asked for, to complete an argument: none when they cannot be read.
func (p *Plugin) Names(ctx context.Context, tokens bool) []string {
	var names []string
	apps := &v1alpha1.ConnectedAppList{}
	_ = p.Client.List(ctx, apps, client.InNamespace(p.Namespace))
	for _, app := range apps.Items {
		names = append(names, app.Name)
	}
	if tokens {
		list := &v1alpha1.AccessTokenList{}
		_ = p.Client.List(ctx, list, client.InNamespace(p.Namespace))
		for _, token := range list.Items {
			if slices.Contains(names, token.Name) {
				names = append(names, "app/"+token.Name, "accesstoken/"+token.Name)
			} else {
				names = append(names, token.Name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// Namespaces are the names of the cluster's, to complete a flag: none when they
// cannot be read.
func (p *Plugin) Namespaces(ctx context.Context) []string {
	var names []string
	list := &corev1.NamespaceList{}
	_ = p.Client.List(ctx, list)
	for _, namespace := range list.Items {
		names = append(names, namespace.Name)
	}
	return names
}
