// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/internal/testenv"
)

// TestTheChartAndKustomizeInstallTheSame objects, field by field, but for what
// withoutHelms takes away.
func TestTheChartAndKustomizeInstallTheSame(t *testing.T) {
	config := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(config, "config"), os.DirFS(filepath.Join(testenv.ModuleRoot(), "config"))))
	eachHelm(t, func(h helm) {
		for name, row := range map[string]struct {
			values, kustomization string
		}{
			"with no values: config/default": {kustomization: "resources: [../config/default]"},
			"on PostgreSQL: config/postgresql": {
				values:        "tokenserver: {database: {type: postgresql}}",
				kustomization: "resources: [../config/postgresql]",
			},
			"for some namespaces: config/namespaced": {
				values:        "namespaces: [payments]",
				kustomization: "resources: [../config/namespaced]",
			},
			"with injection: config/injection beside it": {
				values:        "injection: {enabled: true}",
				kustomization: "resources: [../config/default, ../config/injection]",
			},
			"with monitors, dashboards and alerts: config/monitoring beside it": {
				values: "monitoring: {monitors: {enabled: true}, dashboards: {enabled: true}, rules: {enabled: true}}",
				kustomization: "resources: [../config/default, ../config/monitoring/monitors, ../config/monitoring/dashboards," +
					" ../config/monitoring/alerts]",
			},
			"with the labels of docs/monitoring.md": {
				values: "monitoring: {monitors: {enabled: true, labels: {release: prometheus}}, rules: {enabled: true, labels: {release: prometheus}}," +
					" dashboards: {enabled: true}}",
				kustomization: monitoringOfThePage(t),
			},
			"with restarts: config/components/restart": {
				values:        "restarts: true",
				kustomization: "resources: [../config/default]\ncomponents: [../config/components/restart]",
			},
		} {
			h.Run(name, func(t *testing.T) {
				ours := filepath.Join(config, strings.ReplaceAll(t.Name(), "/", "-"))
				require.NoError(t, os.Mkdir(ours, 0o755))
				require.NoError(t, os.WriteFile(filepath.Join(ours, "kustomization.yaml"), []byte(row.kustomization), 0o600))
				kustomize := parse(t, kubectl(t, "", "kustomize", ours))
				// Who installs a chart has the namespace.
				delete(kustomize, "Namespace//"+systemNamespace)

				chart := helm{T: t, path: h.path}.template(systemNamespace, row.values)
				require.Equal(t, kustomize.names(), chart.names())
				for name, want := range kustomize {
					withoutHelms(t, chart[name], want)
					withConfigurationRead(t, want)
					require.Equal(t, want.Object, chart[name].Object, name)
				}
			})
		}
	})
}

// monitoringOfThePage is what docs/monitoring.md tells users of kustomize to write.
func monitoringOfThePage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(testenv.ModuleRoot(), "docs", "monitoring.md"))
	require.NoError(t, err)
	_, text, found := strings.Cut(string(page), "```yaml\nresources:\n")
	require.True(t, found)
	text, _, _ = strings.Cut(text, "```")
	return "resources:\n- ../config/default\n" + strings.ReplaceAll(text, "../../connectedapps/config", "../config")
}

// withoutHelms takes from an object of the chart what charts alone have.
func withoutHelms(t *testing.T, object, kustomize *unstructured.Unstructured) {
	t.Helper()
	labels, theirs := object.GetLabels(), kustomize.GetLabels()
	for _, label := range []string{
		"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "app.kubernetes.io/version", "helm.sh/chart",
	} {
		require.NotEmpty(t, labels[label], "%s %s: label %s", object.GetKind(), object.GetName(), label)
		if _, found := theirs[label]; !found {
			delete(labels, label)
		}
	}
	object.SetLabels(labels)
	if len(labels) == 0 {
		unstructured.RemoveNestedField(object.Object, "metadata", "labels")
	}
	annotations := object.GetAnnotations()
	// What is kept when a release is uninstalled.
	delete(annotations, "helm.sh/resource-policy")
	object.SetAnnotations(annotations)
	if len(annotations) == 0 {
		unstructured.RemoveNestedField(object.Object, "metadata", "annotations")
	}
	// A setting that needs a restart gets one.
	if object.GetKind() == "Deployment" {
		unstructured.RemoveNestedField(object.Object, "spec", "template", "metadata", "annotations", "checksum/config")
	}
	withConfigurationRead(t, object)
}

// withConfigurationRead has the configuration of the token server as fields in
// place of text.
func withConfigurationRead(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	if object.GetKind() == "ConfigMap" && object.GetName() == "tokenserver-config" {
		require.NoError(t, unstructured.SetNestedField(object.Object, configuration(t, object), "data", "config.yaml"))
	}
}

func configuration(t *testing.T, configMap *unstructured.Unstructured) map[string]any {
	t.Helper()
	text, _, err := unstructured.NestedString(configMap.Object, "data", "config.yaml")
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(text), &fields))
	return fields
}
