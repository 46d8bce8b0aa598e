// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/api/v1alpha1"
)

// TestTrackingStaysOnTheObject: a Secret that had the marks of a GitOps tool would
// be its own to delete, since no repository has it.
func TestTrackingStaysOnTheObject(t *testing.T) {
	labels := map[string]string{
		"app.kubernetes.io/instance": "shop", "app.kubernetes.io/managed-by": "Helm",
		"kustomize.toolkit.fluxcd.io/name": "shop", "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
		"helm.toolkit.fluxcd.io/name": "shop", "helm.toolkit.fluxcd.io/namespace": "flux-system",
		"applyset.kubernetes.io/part-of": "applyset-x-v1",
	}
	annotations := map[string]string{
		"argocd.argoproj.io/tracking-id":  "shop:connectedapps.dev/ConnectedApp:shop/app",
		"argocd.argoproj.io/sync-options": "Prune=false",
		"argocd.argoproj.io/sync-wave":    "3",
		"meta.helm.sh/release-name":       "shop", "meta.helm.sh/release-namespace": "shop",
		"helm.sh/hook":                                     "post-install",
		"config.k8s.io/owning-inventory":                   "shop",
		"kubectl.kubernetes.io/last-applied-configuration": "{}",
	}
	s := newTeam(t, func(app *v1alpha1.ConnectedApp, token *v1alpha1.AccessToken) {
		app.Labels, app.Annotations = labels, annotations
		token.Labels, token.Annotations = labels, annotations
	})
	secrets := s.secrets()
	require.Len(t, secrets, 2)
	for _, secret := range secrets {
		names := slices.Concat(slices.Collect(maps.Keys(secret.Labels)), slices.Collect(maps.Keys(secret.Annotations)))
		require.NotEmpty(t, names)
		for _, name := range names {
			require.True(t, strings.HasPrefix(name, "connectedapps.dev/"), "Secret %s has %s", secret.Name, name)
		}
	}
}
