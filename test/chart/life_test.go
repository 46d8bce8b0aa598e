// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/internal/testenv"
)

// app is an object of a team, on a token server that is not there.
const app = `
apiVersion: connectedapps.dev/v1alpha1
kind: ConnectedApp
metadata: {name: gitproxy, namespace: default, finalizers: [connectedapps.dev/test]}
spec:
  tokenServerRef: {name: none}
  grantTypes: [client_credentials]
`

// release installs the chart and removes what it leaves at the end.
func (h helm) release(chart, namespace string, args ...string) (notes string) {
	h.Helper()
	h.Cleanup(func() {
		_, _, _ = h.try("uninstall", "connectedapps", "--namespace="+namespace)
		h.forget()
	})
	notes = h.run(append([]string{"install", "connectedapps", chart, "--namespace=" + namespace, "--create-namespace"}, args...)...)
	h.established()
	return notes
}

// forget removes the kinds, which an uninstalled chart leaves: the next test's could
// not be installed beside them. On a busy machine one try may fail.
func (h helm) forget() {
	h.Helper()
	kinds := []string{"tokenservers.connectedapps.dev", "connectedapps.connectedapps.dev", "accesstokens.connectedapps.dev"}
	var told []string
	for range 5 {
		_, refused, err := tryKubectl(h.T, "", append([]string{"delete", "crd", "--ignore-not-found", "--timeout=60s"}, kinds...)...)
		left, unread, readErr := tryKubectl(h.T, "", append([]string{"get", "crd", "--ignore-not-found", "-o", "name"}, kinds...)...)
		if err == nil && readErr == nil && left == "" {
			return
		}
		told = append(told, left+refused+unread)
	}
	require.Fail(h, "the kinds are still there", "%s", strings.Join(told, "\n"))
}

// established waits until the kinds are served.
func (h helm) established() {
	h.Helper()
	kubectl(h.T, "", "wait", "--for=condition=Established", "--timeout=60s", "crd",
		"tokenservers.connectedapps.dev", "connectedapps.connectedapps.dev", "accesstokens.connectedapps.dev")
}

// earlier is a copy of the chart from before the kind ConnectedApp had columns.
func earlier(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "connectedapps")
	require.NoError(t, os.CopyFS(folder, os.DirFS(chartFolder)))
	path := filepath.Join(folder, "files", "crds", "customresourcedefinition-connectedapps.connectedapps.dev.yaml")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var crd map[string]any
	require.NoError(t, yaml.Unmarshal(text, &crd))
	delete(crd["spec"].(map[string]any)["versions"].([]any)[0].(map[string]any), "additionalPrinterColumns")
	text, err = yaml.Marshal(crd)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, text, 0o600))
	return folder
}

func TestAReleaseIsUpgradedRolledBackAndUninstalled(t *testing.T) {
	eachHelm(t, func(h helm) {
		namespace := "life-" + filepath.Base(h.path)
		h.release(earlier(h.T), namespace)
		require.NotContains(h, kubectl(h.T, "", "get", "connectedapps"), "CLIENT-ID")
		kubectl(h.T, app, "apply", "--server-side", "-f", "-")
		h.Cleanup(func() {
			_, _, _ = tryKubectl(h.T, "", "patch", "connectedapp", "gitproxy", "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
			_, _, _ = tryKubectl(h.T, "", "delete", "connectedapp", "gitproxy", "--ignore-not-found")
		})
		identity := func() string {
			return kubectl(h.T, "", "get", "connectedapp", "gitproxy", "-o", "jsonpath={.metadata.uid} {.metadata.generation}")
		}
		before := identity()
		replicas := func() string {
			return kubectl(h.T, "", "get", "deployment", "-n", namespace, "connectedapps-manager", "-o", "jsonpath={.spec.replicas}")
		}
		require.Equal(h, "2", replicas())

		h.run("upgrade", "connectedapps", chartFolder, "--namespace="+namespace, "--set=manager.replicas=3")
		require.Equal(h, "3", replicas())
		require.Contains(h, kubectl(h.T, "", "get", "connectedapps"), "gitproxy")
		require.Contains(h, kubectl(h.T, "", "get", "crd", "connectedapps.connectedapps.dev", "-o", "yaml"), "name: Client-ID", "the CRD is upgraded")
		require.Equal(h, before, identity())

		h.run("rollback", "connectedapps", "1", "--namespace="+namespace)
		require.Equal(h, "2", replicas())
		require.Equal(h, before, identity())

		h.run("uninstall", "connectedapps", "--namespace="+namespace)
		require.ElementsMatch(h, []string{
			"customresourcedefinition.apiextensions.k8s.io/accesstokens.connectedapps.dev",
			"customresourcedefinition.apiextensions.k8s.io/connectedapps.connectedapps.dev",
			"customresourcedefinition.apiextensions.k8s.io/tokenservers.connectedapps.dev",
			"persistentvolumeclaim/tokenserver-data",
		}, leftOf(h.T, namespace))
		require.Equal(h, before, identity(), "what teams wrote stays")
		require.Empty(h, kubectl(h.T, "", "get", "connectedapp", "gitproxy", "-o", "jsonpath={.metadata.deletionTimestamp}"))

		// What was kept is taken over by the next release.
		h.run("install", "connectedapps", chartFolder, "--namespace="+namespace)
		require.Equal(h, before, identity())
	})
}

// TestAReleaseTakesOverWhatKustomizeInstalled as docs/helm.md says: each object stays
// the one it was.
func TestAReleaseTakesOverWhatKustomizeInstalled(t *testing.T) {
	config := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(config, "config"), os.DirFS(filepath.Join(testenv.ModuleRoot(), "config"))))
	eachHelm(t, func(h helm) {
		namespace := "taken-over-" + filepath.Base(h.path)
		ours := filepath.Join(config, namespace)
		require.NoError(h, os.Mkdir(ours, 0o755))
		require.NoError(h, os.WriteFile(filepath.Join(ours, "kustomization.yaml"), []byte("namespace: "+namespace+"\nresources: [../config/default]\n"), 0o600))
		h.Cleanup(func() { kubectl(h.T, "", "delete", "--ignore-not-found", "--wait=false", "-k", ours) })
		kubectl(h.T, "", "apply", "--server-side", "-k", ours)
		identities := func() []string {
			return strings.Fields(kubectl(h.T, "", "get", "-k", ours, "-o", "go-template={{range .items}}{{.kind}}/{{.metadata.name}}={{.metadata.uid}} {{end}}"))
		}
		before := identities()
		_, refusal, err := h.try("install", "connectedapps", chartFolder, "--namespace="+namespace)
		require.Error(h, err)
		require.Contains(h, refusal, "invalid ownership metadata")

		flags := []string{"--take-ownership"}
		if filepath.Base(h.path) == "helm4" {
			flags = append(flags, "--server-side=false") // kubectl has the fields too
		}
		h.release(chartFolder, namespace, flags...)
		require.Equal(h, before, identities())
		require.Len(h, leftOf(h.T, namespace), len(before)-1, "all but the namespace are of the release")
		h.run("upgrade", "connectedapps", chartFolder, "--namespace="+namespace, "--set=manager.replicas=3")
		require.Equal(h, before, identities())
	})
}

// leftOf a release are the objects that it made and that are there.
func leftOf(t *testing.T, namespace string) []string {
	t.Helper()
	kinds := strings.Join([]string{
		"deployments", "services", "serviceaccounts", "configmaps", "secrets", "persistentvolumeclaims", "poddisruptionbudgets", "networkpolicies",
		"roles", "rolebindings", "clusterroles", "clusterrolebindings", "priorityclasses", "customresourcedefinitions",
		"validatingadmissionpolicies", "validatingadmissionpolicybindings", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings",
	}, ",")
	return strings.Fields(kubectl(t, "", "get", kinds, "-n", namespace, "-l", "app.kubernetes.io/managed-by=Helm", "-o", "name"))
}

// TestTheNotesLeadToATokenServer that the API server takes, in every shape.
func TestTheNotesLeadToATokenServer(t *testing.T) {
	eachHelm(t, func(h helm) {
		namespace := "notes-" + filepath.Base(h.path)
		installed := h.release(chartFolder, namespace)
		for name, values := range map[string]string{
			"no values":        "",
			"a public address": "tokenserver: {publicURL: 'https://id.example.com', tls: {secretName: ours}}",
			"PostgreSQL":       "tokenserver: {database: {type: postgresql}}",
		} {
			notes := installed
			if values != "" {
				notes = h.run("upgrade", "connectedapps", chartFolder, "--namespace="+namespace, "--values="+h.values(values))
			}
			_, manifest, found := strings.Cut(notes, "<<'EOF'\n")
			require.True(h, found, notes)
			manifest, _, _ = strings.Cut(manifest, "EOF\n")
			kubectl(h.T, manifest, "apply", "--server-side", "--dry-run=server", "-f", "-")
			require.Equal(h, name == "PostgreSQL", strings.Contains(notes, "kubectl create secret generic tokenserver-database"), name)
		}
	})
}

// TestPodsOfTheChartAreRestricted where that level is enforced.
func TestPodsOfTheChartAreRestricted(t *testing.T) {
	eachHelm(t, func(h helm) {
		namespace := "restricted-" + filepath.Base(h.path)
		kubectl(h.T, "", "create", "namespace", namespace)
		kubectl(h.T, "", "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
		h.release(chartFolder, namespace)
		for _, values := range []string{people, "tokenserver: {database: {type: postgresql}}"} {
			o := h.template(namespace, values)
			for _, name := range []string{"connectedapps-manager", "tokenserver"} {
				d, _ := o.deployment(h, name)
				spec := d.Spec.Template.Spec
				create := func() error {
					pod, err := yaml.Marshal(&corev1.Pod{
						TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}, Spec: spec,
					})
					require.NoError(h, err)
					_, _, err = tryKubectl(h.T, string(pod), "create", "--dry-run=server", "-f", "-")
					return err
				}
				require.NoError(h, create(), name)
				spec.Containers[0].SecurityContext = nil
				require.Error(h, create(), "the level is enforced")
			}
		}
	})
}
