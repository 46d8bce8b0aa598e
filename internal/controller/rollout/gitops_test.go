// SPDX-License-Identifier: Apache-2.0

package rollout_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
)

// Tools that apply the manifest from git again, in each of their ways, find nothing
// to change, and the manager nothing to restart.
func TestManifestsFromGitLeaveTheNotesAlone(t *testing.T) {
	for name, apply := range map[string][]string{
		"client-side": {"apply", "-f", "-"},
		"server-side": {"apply", "--server-side", "--field-manager=argocd-controller", "-f", "-"},
	} {
		t.Run(name, func(t *testing.T) {
			w := restarting(t)
			kubectl := plane.Kubectl(t)
			ref := v1alpha1.WorkloadReference{Kind: v1alpha1.WorkloadDeployment, Name: "web"}
			text := manifest(w.namespace, ref.Kind, ref.Name)
			kubectl.Run(t, text, apply...)
			w.look("app-a", "1", 0, ref)
			kubectl.Run(t, text, apply...)
			w.look("app-a", "2", 0, ref)
			kubectl.Run(t, text, apply...)
			w.requireUpToDate(w.look("app-a", "2", settle, ref), "Deployment web")
			before := w.read(ref)
			kubectl.Run(t, text, apply...)
			w.requireUpToDate(w.look("app-a", "2", time.Hour, ref))
			require.Equal(t, "2", w.template(ref)["restart.connectedapps.dev/app-a"])
			require.Equal(t, before.GetGeneration(), w.read(ref).GetGeneration())
			require.Empty(t, kubectl.Run(t, text, append([]string{"diff"}, apply[1:]...)...))

			// Their own change is theirs, and keeps ours.
			kubectl.Run(t, strings.Replace(text, "image: web", "image: web:2", 1), apply...)
			require.Equal(t, "2", w.template(ref)["restart.connectedapps.dev/app-a"])
		})
	}
}

// A manifest that was copied from a cluster has what was noted then, and each apply
// brings that back.
func TestAManifestWithTheNotesIsNotFoughtOver(t *testing.T) {
	for name, row := range map[string]struct {
		apply []string
		who   string
	}{
		"client-side": {[]string{"apply", "-f", "-"}, "somebody applies Deployment web"},
		"server-side": {[]string{"apply", "--server-side", "--field-manager=flux", "-f", "-"}, "field manager flux applies Deployment web"},
	} {
		t.Run(name, func(t *testing.T) {
			w := restarting(t)
			ref := v1alpha1.WorkloadReference{Kind: v1alpha1.WorkloadDeployment, Name: "web"}
			text := strings.Replace(manifest(w.namespace, ref.Kind, ref.Name), "team: payments", "restart.connectedapps.dev/app-a: old", 1)
			plane.Kubectl(t).Run(t, text, row.apply...)
			before := w.read(ref).GetResourceVersion()
			w.requireFalse(w.look("app-a", "1", 0, ref), v1alpha1.ReasonRestartRefused, row.who, 5*time.Minute)
			w.requireFalse(w.look("app-a", "1", time.Hour, ref), v1alpha1.ReasonRestartRefused, "take them out of that manifest", 5*time.Minute)
			require.Equal(t, before, w.read(ref).GetResourceVersion())
		})
	}
}

// kubectl rollout undo brings the template of an earlier revision back, and the
// annotations that the Deployment had then.
func TestARollOutThatIsUndoneIsMadeOnceMoreAtMost(t *testing.T) {
	w := restarting(t)
	ref := w.make(v1alpha1.WorkloadDeployment, "web")
	w.look("app-a", "1", 0, ref)
	w.look("app-a", "2", 0, ref)
	then := w.read(ref)
	w.look("app-a", "2", settle, ref)
	undone := w.read(ref)
	undone.SetAnnotations(then.GetAnnotations())
	undone.Object["spec"] = then.Object["spec"]
	require.NoError(t, plane.Client.Update(t.Context(), undone, client.FieldOwner("kubectl-rollout")))
	w.requireUpToDate(w.look("app-a", "2", time.Hour, ref), "Deployment web")
	w.requireUpToDate(w.look("app-a", "2", 2*time.Hour, ref))

	undone = w.read(ref) // of the template alone
	require.NoError(t, unstructured.SetNestedStringMap(undone.Object, map[string]string{"restart.connectedapps.dev/app-a": "1"},
		"spec", "template", "metadata", "annotations"))
	require.NoError(t, plane.Client.Update(t.Context(), undone, client.FieldOwner("kubectl-rollout")))
	w.requireUpToDate(w.look("app-a", "2", 3*time.Hour, ref))
	require.Equal(t, "1", w.template(ref)["restart.connectedapps.dev/app-a"], "that started Pods, with what is there")
	w.look("app-a", "3", 4*time.Hour, ref)
	w.requireUpToDate(w.look("app-a", "3", 4*time.Hour+settle, ref), "Deployment web")
	require.Equal(t, "3", w.template(ref)["restart.connectedapps.dev/app-a"])
}
