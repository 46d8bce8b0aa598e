// SPDX-License-Identifier: Apache-2.0

package install

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"connectedapps.dev/operator/internal/options/tokenserveroptions"
)

func TestTheTokenServerTakesItsConfiguration(t *testing.T) {
	// The text alone: the files it names exist only in the Pod.
	loaded, err := tokenserveroptions.LoadText(filepath.Join(config("tokenserver"), "config.yaml"))
	require.NoError(t, err)
	require.Empty(t, loaded.Warnings)

	var deployment *appsv1.Deployment
	for _, d := range deploymentsOf(t, "tokenserver") {
		deployment = d
	}
	require.NotNil(t, deployment)
	for _, file := range append(loaded.Config.EncryptionKeyFiles, loaded.Config.TLSCertFile, loaded.Config.TLSKeyFile,
		loaded.Config.Storage.SQLite.Path, loaded.Config.Bootstrap.AdminClient.ClientSecretFile) {
		require.NotNil(t, mountOf(deployment, filepath.Dir(file)), "%s is in a volume", file)
	}
	require.Nil(t, mountOf(deployment, "/etc/tokenserver"))
}

func mountOf(d *appsv1.Deployment, dir string) *corev1.VolumeMount {
	for _, m := range d.Spec.Template.Spec.Containers[0].VolumeMounts {
		if m.MountPath == dir {
			return &m
		}
	}
	return nil
}

func TestTheSampleReachesTheBundledTokenServer(t *testing.T) {
	install(t)
	kubectl(t, "", "apply", "--server-side", "-k", config("samples"))
	url := kubectl(t, "", "get", "tokenserver", "default", "-o", "jsonpath={.spec.url}")
	t.Setenv("POD_NAMESPACE", systemNamespace)
	loaded, err := tokenserveroptions.LoadText(filepath.Join(config("tokenserver"), "config.yaml"))
	require.NoError(t, err)
	require.Equal(t, loaded.Config.PublicURL, url)

	service := kubectl(t, "", "get", "service", "-n", "connectedapps-system", "tokenserver", "-o", "jsonpath={.metadata.name}.{.metadata.namespace}.svc:{.spec.ports[0].port}")
	require.Equal(t, "https://"+service, url+":443")
}
