// SPDX-License-Identifier: Apache-2.0

package install

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/testenv"
)

// workloads makes one of each kind that can be restarted.
func workloads(t *testing.T, namespace string) (list []v1alpha1.WorkloadReference) {
	t.Helper()
	for _, kind := range []v1alpha1.WorkloadKind{v1alpha1.WorkloadDeployment, v1alpha1.WorkloadStatefulSet, v1alpha1.WorkloadDaemonSet} {
		kubectl(t, fmt.Sprintf(`
apiVersion: apps/v1
kind: %s
metadata: {name: web, namespace: %s}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web}]}
`, kind, namespace), "apply", "--server-side", "-f", "-")
		list = append(list, v1alpha1.WorkloadReference{Kind: kind, Name: "web"})
	}
	return list
}

// workloadsCurrent waits for the condition of an app.
func (l *life) workloadsCurrent(app *v1alpha1.ConnectedApp, reason string) (message string) {
	l.Helper()
	eventually(l.T, func(c *require.Assertions) {
		c.NoError(l.client.Get(l.Context(), client.ObjectKeyFromObject(app), app))
		condition := testenv.Condition(app.Status.Conditions, v1alpha1.ConditionWorkloadsCurrent)
		c.Equal(reason, condition.Reason, condition.Message)
		message = condition.Message
	})
	return message
}

// restartOverlay is the installation with the component, in all namespaces or in the
// one that is listed.
func restartOverlay(t *testing.T, listed string) string {
	t.Helper()
	if listed != "" {
		overlay := namespacesOverlay(t, listed, listed)
		file := filepath.Join(overlay, listed, "kustomization.yaml")
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, append(data, "components: [../../components/restart]\n"...), 0o600))
		return overlay
	}
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join(root, "config"))))
	overlay := filepath.Join(dir, "restart")
	require.NoError(t, os.Mkdir(overlay, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(overlay, "kustomization.yaml"),
		[]byte("resources: [../default]\ncomponents: [../components/restart]\n"), 0o600))
	return overlay
}

// TestRestartsNeedTheirComponent: without it the manager says what is missing and
// who gives it, with it the manager uses all of it, and the app is Ready in both.
func TestRestartsNeedTheirComponent(t *testing.T) {
	install(t)
	defer install(t) // for the tests after this one
	for _, listed := range []string{"", "restarts-listed"} {
		t.Run("namespaces:"+listed, func(t *testing.T) {
			namespace, without := "restarts-all", config("default")
			if listed != "" {
				namespace, without = listed, namespacesOverlay(t, listed, listed)
				kubectl(t, "", "delete", "clusterrole,clusterrolebinding", "connectedapps-manager-tenant-role", "connectedapps-manager-tenant-rolebinding",
					"--ignore-not-found")
				defer func() {
					for _, place := range []string{listed, systemNamespace, "default"} {
						kubectl(t, "", "delete", "-n", place, "role,rolebinding", "connectedapps-manager-tenant-role", "connectedapps-manager-tenant-rolebinding",
							"connectedapps-manager-events-role", "connectedapps-manager-events-rolebinding", "--ignore-not-found")
					}
				}()
			}
			kubectl(t, "", "create", "namespace", namespace)
			kubectl(t, "", "apply", "--server-side", "-k", without)
			kubectl(t, "", "delete", "-n", systemNamespace, "lease", "--all")
			l := newLife(t, namespace)
			m := newCluster(t, without).start(t)
			l.begin()
			app := l.app(func(app *v1alpha1.ConnectedApp) {
				app.Spec.Credentials = &v1alpha1.Credentials{
					Type: v1alpha1.CredentialsSecret, Secret: &v1alpha1.CredentialsSecretSpec{Restart: workloads(t, namespace)},
				}
			})
			require.Contains(t, l.workloadsCurrent(app, v1alpha1.ReasonRestartRefused), "config/components/restart")
			l.ready(app)
			m.stop(t)
			used, refused := usedRights(t, l.after)
			requireOnlyReads(t, refused)
			require.NotContains(t, used, right{resource: "apps/deployments", verb: "get", name: "web", namespace: namespace})

			l.after = auditSize(t)
			overlay := restartOverlay(t, listed)
			kubectl(t, "", "apply", "--server-side", "-k", overlay)
			rights := grantedRights(t, l.client)
			rights.requireNothingTwice(t)
			m = newCluster(t, overlay).start(t)
			l.workloadsCurrent(app, v1alpha1.ReasonUpToDate)
			if listed == "" { // it takes half a minute
				l.rollOut(app)
			}
			l.ready(app)
			l.delete(app)
			l.delete(l.server)
			m.stop(t)
			used, refused = usedRights(t, l.after)
			requireNone(t, refused)
			onlyWorkloads(rights).requireUsed(t, used)
		})
	}
}

// rollOut rotates the app's client secret, and waits until its workloads have it.
func (l *life) rollOut(app *v1alpha1.ConnectedApp) {
	l.Helper()
	l.edit(app, func() { metav1.SetMetaDataAnnotation(&app.ObjectMeta, v1alpha1.AnnotationRotateRequestedAt, "now") })
	l.workloadsCurrent(app, v1alpha1.ReasonRestartPending)
	l.workloadsCurrent(app, v1alpha1.ReasonUpToDate)
	for _, kind := range []string{"deployment", "statefulset", "daemonset"} {
		require.Contains(l, kubectl(l.T, "", "get", "-n", l.namespace, kind, "web", "-o", "jsonpath={.spec.template.metadata.annotations}"),
			"restart.connectedapps.dev/app-app")
	}
}

// requireOnlyReads: what is not granted is tried once in a while, and nothing else is.
func requireOnlyReads(t *testing.T, refused map[right]bool) {
	t.Helper()
	require.NotEmpty(t, refused)
	for r := range refused {
		require.Equal(t, "get", r.verb, r)
		require.Contains(t, []string{"apps/deployments", "apps/statefulsets", "apps/daemonsets"}, r.resource)
	}
}

// onlyWorkloads are the rights that the component grants.
func onlyWorkloads(all granted) granted {
	some := granted{}
	for role, rights := range all {
		for _, r := range rights {
			if len(r.resource) > 5 && r.resource[:5] == "apps/" {
				some[role] = append(some[role], r)
			}
		}
	}
	return some
}
