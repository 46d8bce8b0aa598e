// SPDX-License-Identifier: Apache-2.0

package install

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

func TestApplyingTwiceChangesNothing(t *testing.T) {
	install(t)
	kubectl(t, "", "apply", "--server-side", "-k", config("samples"))
	for _, name := range []string{"default", "samples"} {
		diff := kubectl(t, "", "diff", "--server-side", "-k", config(name))
		require.Empty(t, diff, name)
	}
	names := kubectl(t, "", "get", "-n", "payments",
		"connectedapps.connectedapps.dev,accesstokens.connectedapps.dev", "-o", "name")
	require.Equal(t, []string{
		"connectedapp.connectedapps.dev/gitproxy",
		"connectedapp.connectedapps.dev/portal",
		"accesstoken.connectedapps.dev/gitproxy",
	}, strings.Fields(names))
}

// TestPodsAreRestricted creates the Pod of each Deployment in its own
// namespace, where the restricted Pod Security level is enforced.
func TestPodsAreRestricted(t *testing.T) {
	install(t)
	kubectl(t, "", "apply", "--server-side", "-k", config("samples"))
	deployments := append(deploymentsOf(t, "default"), deploymentsOf(t, "samples")...)
	require.Len(t, deployments, 3)
	for _, d := range deployments {
		t.Run(d.Name, func(t *testing.T) {
			kubectl(t, podOf(t, d), "create", "--dry-run=server", "-f", "-")

			d.Spec.Template.Spec.Containers[0].SecurityContext = nil
			_, stderr, err := tryKubectl(t, podOf(t, d), "create", "--dry-run=server", "-f", "-")
			require.Error(t, err)
			require.Contains(t, stderr, `violates PodSecurity "restricted`, "the level is enforced")
		})
	}
}

func deploymentsOf(t *testing.T, name string) []*appsv1.Deployment {
	t.Helper()
	return deploymentsIn(t, config(name))
}

func deploymentsIn(t *testing.T, folder string) []*appsv1.Deployment {
	t.Helper()
	return objectsIn[appsv1.Deployment](t, folder, "Deployment")
}

// objectsIn are the objects of a kind in a kustomization.
func objectsIn[T any](t *testing.T, folder, kind string) []*T {
	t.Helper()
	var found []*T
	for document := range strings.SplitSeq(kubectl(t, "", "kustomize", folder), "\n---\n") {
		var named metav1.TypeMeta
		require.NoError(t, yaml.Unmarshal([]byte(document), &named))
		if named.Kind == kind {
			object := new(T)
			require.NoError(t, yaml.UnmarshalStrict([]byte(document), object))
			found = append(found, object)
		}
	}
	return found
}

func podOf(t *testing.T, d *appsv1.Deployment) string {
	t.Helper()
	pod, err := yaml.Marshal(&corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: d.Name, Namespace: d.Namespace},
		Spec:       d.Spec.Template.Spec,
	})
	require.NoError(t, err)
	return string(pod)
}

func TestManagerMayDoItsWorkAndNoMore(t *testing.T) {
	install(t)
	may := func(args ...string) bool {
		stdout, _, _ := tryKubectl(t, "", append([]string{"auth", "can-i",
			"--as=system:serviceaccount:connectedapps-system:connectedapps-manager"}, args...)...)
		return strings.TrimSpace(stdout) == "yes"
	}
	for _, allowed := range [][]string{
		{"list", "connectedapps.connectedapps.dev", "-A"},
		{"watch", "tokenservers.connectedapps.dev", "-A"},
		{"patch", "accesstokens.connectedapps.dev/status", "-n", "payments"},
		{"create", "secrets", "-n", "payments"},
		{"create", "secrets", "-n", "connectedapps-system"},
		{"create", "configmaps", "-n", "payments"},
		{"create", "configmaps", "-n", "connectedapps-system"},
		{"update", "secrets/tokenserver-tls", "-n", "connectedapps-system"},
		{"update", "configmaps/tokenserver-ca", "-n", "connectedapps-system"},
		{"create", "events.events.k8s.io", "-n", "payments"},
		{"update", "leases.coordination.k8s.io", "-n", "connectedapps-system"},
		{"create", "tokenreviews.authentication.k8s.io"},
	} {
		require.True(t, may(allowed...), "the manager may %s", strings.Join(allowed, " "))
	}
	for _, refused := range [][]string{
		{"update", "leases.coordination.k8s.io", "-n", "payments"},
		{"create", "pods", "-n", "payments"},
		{"update", "configmaps", "-n", "payments"},
		{"impersonate", "users"},
		{"create", "clusterroles.rbac.authorization.k8s.io"},
		{"create", "serviceaccounts/token", "-n", "payments"},
		{"delete", "connectedapps.connectedapps.dev", "-n", "payments"},
	} {
		require.False(t, may(refused...), "the manager may not %s", strings.Join(refused, " "))
	}
}

func TestReservedSecretNamesAreRefusedInTheSystemNamespace(t *testing.T) {
	install(t)
	manifest := func(namespace, name, secret string) string {
		return `
apiVersion: connectedapps.dev/v1alpha1
kind: AccessToken
metadata: {name: ` + name + `, namespace: ` + namespace + `, finalizers: [connectedapps.dev/test]}
spec:
  connectedAppRef: {name: app}
  secret: {name: ` + secret + `}
---
apiVersion: connectedapps.dev/v1alpha1
kind: ConnectedApp
metadata: {name: ` + name + `, namespace: ` + namespace + `, finalizers: [connectedapps.dev/test]}
spec:
  tokenServerRef: {name: none} # whose access rules would refuse it first
  grantTypes: [client_credentials]
  credentials: {type: Secret, secret: {name: ` + secret + `}}
`
	}
	const system = "connectedapps-system"
	// Objects from before the policy was installed.
	kubectl(t, "", "delete", "validatingadmissionpolicybinding", "connectedapps-reserved-names")
	require.Eventually(t, func() bool {
		_, _, err := tryKubectl(t, manifest(system, "old", "tokenserver-keys"), "apply", "--server-side", "-f", "-")
		return err == nil
	}, 30*time.Second, 200*time.Millisecond, "without the policy")
	install(t)

	// A new binding takes a moment to bite.
	const message = "belongs to the token server in this namespace: choose another name"
	require.Eventually(t, func() bool {
		_, stderr, err := tryKubectl(t, manifest(system, "new", "tokenserver-admin"), "create", "--dry-run=server", "-f", "-")
		return err != nil && strings.Count(stderr, message) == 2
	}, 30*time.Second, 200*time.Millisecond, "both kinds are refused")
	kubectl(t, manifest(system, "new", "some-secret"), "create", "--dry-run=server", "-f", "-")
	kubectl(t, "", "create", "namespace", "elsewhere")
	kubectl(t, manifest("elsewhere", "new", "tokenserver-admin"), "create", "--dry-run=server", "-f", "-")

	kubectl(t, "", "delete", "--wait=false", "-n", system, "accesstoken/old", "connectedapp/old")
	for _, object := range []string{"accesstoken/old", "connectedapp/old"} {
		kubectl(t, "", "patch", "-n", system, object, "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	}
}
