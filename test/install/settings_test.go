// SPDX-License-Identifier: Apache-2.0

package install

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// TestTheSettingsOfThePageAreAnOverlay in a folder of its own: images, configuration
// and replicas, and the samples follow.
func TestTheSettingsOfThePageAreAnOverlay(t *testing.T) {
	install(t)
	defer install(t)
	text, err := os.ReadFile(filepath.Join(root, "docs", "installation.md"))
	require.NoError(t, err)
	_, section, found := strings.Cut(string(text), "## Settings\n")
	require.True(t, found)
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := regexp.MustCompile("(?s)```yaml\n# (ours/[^\n]*)\n(.*?)```").FindAllStringSubmatch(section, -1)
	require.Len(t, blocks, 3)

	dir := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(dir, "connectedapps", "config"), os.DirFS(filepath.Join(root, "config"))))
	files := map[string]string{"ours/install/config.yaml": strings.Replace(bundledConfig(t), "name: Main", "name: Ours", 1)}
	for _, block := range blocks {
		files[block[1]] = block[2]
	}
	for name, content := range files {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}

	deploy := exec.CommandContext(t.Context(), "make", "deploy", "KUBECTL="+absolute(t, kubectlPath), "KUSTOMIZATION="+filepath.Join(dir, "ours", "install"))
	deploy.Dir = root
	deploy.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "MAKEFLAGS=")
	printed, err := deploy.CombinedOutput()
	require.NoError(t, err, string(printed))
	defer kubectl(t, "", "delete", "mutatingadmissionpolicy/connectedapps-injection", "mutatingadmissionpolicybinding/connectedapps-injection")
	get := func(name, path string) string {
		return kubectl(t, "", "get", name, "--namespace="+systemNamespace, "--output=jsonpath="+path)
	}
	const image, registry = "{.spec.template.spec.containers[0].image}", "registry.example.com/connectedapps/"
	require.Equal(t, registry+"manager:v1", get("deployment/connectedapps-manager", image))
	require.Equal(t, "1", get("deployment/connectedapps-manager", "{.spec.replicas}"))
	require.Equal(t, registry+"tokenserver:v1", get("deployment/tokenserver", image))
	require.Equal(t, registry+"refresher:v1", get("configmap/connectedapps-injection", "{.data.image}"))
	require.Contains(t, get("configmap/tokenserver-config", `{.data.config\.yaml}`), "name: Ours")
	for _, c := range objectsIn[corev1.ConfigMap](t, filepath.Join(dir, "ours", "install"), "ConfigMap") {
		require.NotContains(t, c.Name, "tokenserver-config-", "the Deployment refers to the name without a hash")
	}

	samples := objectsIn[appsv1.Deployment](t, filepath.Join(dir, "ours", "samples"), "Deployment")
	require.Len(t, samples, 1)
	require.Equal(t, registry+"refresher:v1", samples[0].Spec.Template.Spec.InitContainers[0].Image)
}
