// SPDX-License-Identifier: Apache-2.0

package install

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/internal/options/refresheroptions"
)

// refresherFlags are the options of a refresher in a Pod, whose directories are
// the test's.
func refresherFlags(t *testing.T, args []string, env []corev1.EnvVar) *refresheroptions.Options {
	t.Helper()
	dir := t.TempDir()
	variables := map[string]string{"KUBERNETES_SERVICE_HOST": "10.96.0.1"}
	for _, e := range env {
		if e.ValueFrom != nil && e.ValueFrom.FieldRef != nil {
			variables[e.Name] = map[string]string{"status.podIP": "10.0.0.7", "status.hostIP": "192.168.0.3"}[e.ValueFrom.FieldRef.FieldPath]
		}
	}
	given := append([]string{}, args...)
	for i, a := range given {
		if strings.HasPrefix(a, "--credentials-dir=") {
			given[i] = "--credentials-dir=" + dir
		}
	}
	o, err := refresheroptions.Parse(append(given, "--service-account-dir="+dir), func(n string) string { return variables[n] }, nil)
	require.NoError(t, err)
	return o
}

func TestComponentServesTheTokenBesideTheFiles(t *testing.T) {
	// kustomize takes relative paths alone.
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(dir, "components"), os.DirFS(config("components"))))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "app"), 0o755))
	for name, content := range map[string]string{
		"kustomization.yaml": "resources: [web.yaml]\ncomponents: [../components/refresher, ../components/refresher/serve]\n",
		"web.yaml": `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, labels: {connectedapps.dev/inject: my-app}}, spec: {
			selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: web}]}}}}`,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "app", name), []byte(strings.ReplaceAll(content, "\t", " ")), 0o600))
	}
	d := &appsv1.Deployment{}
	require.NoError(t, yaml.UnmarshalStrict([]byte(kubectl(t, "", "kustomize", filepath.Join(dir, "app"))), d))
	container := d.Spec.Template.Spec.InitContainers[0]
	require.Equal(t, "connectedapps-refresher", container.Name)
	o := refresherFlags(t, container.Args, container.Env)
	require.Equal(t, "127.0.0.1:8091", o.Serve)
	require.NotEmpty(t, o.OutputDir)
}

// The sample of a shared Secret is one that the API server takes, of a name that
// its Role is for.
func TestTheSampleOfASharedSecret(t *testing.T) {
	rendered := kubectl(t, "", "kustomize", config("samples/shared-token"))
	kubectl(t, "", "create", "namespace", "shared-token")
	kubectl(t, strings.ReplaceAll(rendered, "namespace: payments", "namespace: shared-token"), "apply", "--server-side", "--dry-run=server", "-f", "-")
	text, err := os.ReadFile(filepath.Join(config("samples/shared-token"), "deployment.yaml"))
	require.NoError(t, err)
	d := &appsv1.Deployment{}
	require.NoError(t, yaml.UnmarshalStrict(text, d))
	o := refresherFlags(t, d.Spec.Template.Spec.Containers[0].Args, nil)
	require.Equal(t, "gitproxy-shared-token", o.Secret)
	require.Contains(t, rendered, "resourceNames:\n  - gitproxy-shared-token\n")
}

// The manifests on the page are those of the folders.
func TestThePageShowsTheOutputsAsTheyAre(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "token-delivery.md"))
	require.NoError(t, err)
	rights, err := os.ReadFile(filepath.Join(config("samples/shared-token"), "rights.yaml"))
	require.NoError(t, err)
	_, role, found := strings.Cut(string(rights), "rules:\n")
	require.True(t, found)
	role, _, _ = strings.Cut(role, "---")
	shown := ""
	for line := range strings.Lines(role) {
		if !strings.Contains(line, "#") {
			shown += line
		}
	}
	require.Contains(t, string(page), shown)
	for _, variable := range []string{
		"- {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}", "- {name: HOST_IP, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}",
	} {
		require.Contains(t, string(page), variable)
	}
}
