// SPDX-License-Identifier: Apache-2.0

package install

import (
	"os"
	"path/filepath"
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

// withComponent builds a kustomization of the given resource and the refresher
// component.
func withComponent(t *testing.T, resource string) string {
	t.Helper()
	dir := t.TempDir()
	// kustomize takes relative paths alone.
	require.NoError(t, os.CopyFS(filepath.Join(dir, "component"), os.DirFS(config("components/refresher"))))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "app"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "app", "resource.yaml"), []byte(resource), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "app", "kustomization.yaml"),
		[]byte("resources: [resource.yaml]\ncomponents: [../component]\n"), 0o600))
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
