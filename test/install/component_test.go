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
)

const plainDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {connectedapps.dev/inject: my-long-app}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      initContainers:
      - {name: migrate, image: migrate}
      containers:
      - name: web
        image: web
        volumeMounts:
        - {name: connectedapps-token, mountPath: /token, readOnly: true}
        - {name: cache, mountPath: /cache}
      volumes:
      - {name: cache, emptyDir: {}}
`

// withComponent builds a kustomization of the given resource, the refresher
// component and others in its directory, and what the kustomization says beside.
func withComponent(t *testing.T, resource string, more ...string) string {
	t.Helper()
	components, beside := "../component", ""
	for _, m := range more {
		if strings.Contains(m, ":") {
			beside += m
			continue
		}
		components += ", ../component/" + m
	}
	dir := t.TempDir()
	// kustomize takes relative paths alone.
	require.NoError(t, os.CopyFS(filepath.Join(dir, "component"), os.DirFS(config("components/refresher"))))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "app"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "app", "resource.yaml"), []byte(resource), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "app", "kustomization.yaml"),
		[]byte("resources: [resource.yaml]\ncomponents: ["+components+"]\n"+beside), 0o600))
	return kubectl(t, "", "kustomize", filepath.Join(dir, "app"))
}

func TestComponentAddsTheRefresherBeforeOtherInitContainers(t *testing.T) {
	d := &appsv1.Deployment{}
	require.NoError(t, yaml.UnmarshalStrict([]byte(withComponent(t, plainDeployment)), d))
	pod := d.Spec.Template.Spec

	require.Len(t, pod.InitContainers, 2)
	refresher := pod.InitContainers[0]
	require.Equal(t, "connectedapps-refresher", refresher.Name, "the application's own init containers find a token")
	require.Equal(t, "connectedapps/refresher:dev", refresher.Image)
	require.Equal(t, corev1.ContainerRestartPolicyAlways, *refresher.RestartPolicy)
	require.Equal(t, "/startupz", refresher.StartupProbe.HTTPGet.Path)

	volumes := map[string]corev1.Volume{}
	for _, v := range pod.Volumes {
		volumes[v.Name] = v
	}
	require.Len(t, volumes, 3)
	require.Equal(t, "my-long-app-credentials", volumes["connectedapps-credentials"].Secret.SecretName)
	require.Equal(t, corev1.StorageMediumMemory, volumes["connectedapps-token"].EmptyDir.Medium)
	require.Len(t, pod.Containers[0].VolumeMounts, 2, "the application's own volumes stay")
}

// existingSecret is plainDeployment of an app whose client secret is in a Secret
// of somebody else's.
var existingSecret = strings.Replace(plainDeployment, "{connectedapps.dev/inject: my-long-app}",
	"{connectedapps.dev/inject: my-long-app}\n  annotations: {connectedapps.dev/existing-secret: my-vault-password}", 1)

func credentialsVolume(t *testing.T, manifest string) *corev1.ProjectedVolumeSource {
	t.Helper()
	d := &appsv1.Deployment{}
	require.NoError(t, yaml.UnmarshalStrict([]byte(manifest), d))
	for _, v := range d.Spec.Template.Spec.Volumes {
		if v.Name == "connectedapps-credentials" {
			require.Nil(t, v.Secret, "one source, not two")
			require.NotNil(t, v.Projected)
			return v.Projected
		}
	}
	t.Fatal("no volume with credentials")
	return nil
}

func TestComponentMountsAnExistingSecretBesideItsCompanion(t *testing.T) {
	volume := credentialsVolume(t, withComponent(t, existingSecret, "existing-secret"))
	require.Len(t, volume.Sources, 2)
	require.Equal(t, "my-long-app-credentials", volume.Sources[0].Secret.Name)
	require.Empty(t, volume.Sources[0].Secret.Items, "all of the companion")
	require.Equal(t, "my-vault-password", volume.Sources[1].Secret.Name)
	require.Equal(t, []corev1.KeyToPath{{Key: "client-secret", Path: "client-secret"}}, volume.Sources[1].Secret.Items)
	require.Equal(t, int32(0o444), *volume.DefaultMode)
}

// The page shows how to name another key, and another companion.
func TestThePatchOfTheExistingSecretOnThePageWorks(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "token-delivery.md"))
	require.NoError(t, err)
	_, after, found := strings.Cut(string(page), "# kustomization.yaml, for an ExistingSecret of other names\n")
	require.True(t, found)
	patch, _, _ := strings.Cut(after, "```")
	_, patches, found := strings.Cut(patch, "patches:")
	require.True(t, found)
	volume := credentialsVolume(t, withComponent(t, existingSecret, "existing-secret", "patches:"+patches))
	require.Equal(t, "gitproxy-client", volume.Sources[0].Secret.Name)
	require.Equal(t, "my-vault-password", volume.Sources[1].Secret.Name)
	require.Equal(t, []corev1.KeyToPath{{Key: "password", Path: "client-secret"}}, volume.Sources[1].Secret.Items)
}
