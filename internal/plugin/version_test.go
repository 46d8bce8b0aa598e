// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/internal/testenv"
)

func TestVersionsOfAllParts(t *testing.T) {
	a := &team{site: newSite(t)}
	a.SystemNamespace = a.Namespace
	install := func(manager, tokenserver string) {
		for component, image := range map[string]string{"manager": manager, "tokenserver": tokenserver} {
			plane.Kubectl(t).Run(t, `{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "`+component+`", "namespace": "`+a.Namespace+`",
				"labels": {"app.kubernetes.io/name": "connectedapps", "app.kubernetes.io/component": "`+component+`"}},
				"spec": {"selector": {"matchLabels": {"x": "y"}}, "template": {"metadata": {"labels": {"x": "y"}}, "spec": {"containers": [
				{"name": "`+component+`", "image": "`+image+`"}, {"name": "other", "image": "other:9.9.9"}]}}}}`, "apply", "-f", "-")
		}
	}
	says := func(name string, as client.Client, version string, clientOnly bool) {
		t.Helper()
		a.Client = as
		a.out.Reset()
		a.said.Reset()
		require.NoError(t, a.Version(t.Context(), version, clientOnly))
		golden(t, name, a.out.String(), a.Namespace, "connectedapps-system")
	}
	says("version-nothing.txt", plane.Client, "0.2.0", false)
	install("registry.example:5000/connectedapps-manager:0.2.1@sha256:"+strings.Repeat("0", 64), "tokenserver:0.3.0")
	says("version-all.txt", plane.Client, "0.2.0", false)
	says("version-client.txt", nil, "0.2.0", true)
	says("version-no-rights.txt", a.user(t, "nobody").Client, "0.2.0", false)
	install("manager:v0.4.0", "registry.example:5000/tokenserver")
	says("version-skew.txt", plane.Client, "0.2.0", false)
	says("version-dev.txt", plane.Client, "dev", false)
	require.Equal(t, []string{"the client, 1.9.0, is more than one minor version behind the manager, 2.0.0: update it"},
		(&Versions{Client: "1.9.0", Parts: []PartVersion{{Component: "manager", Version: "2.0.0"}}}).skew())
}

// The labels, and the names of containers, are those of what is installed.
func TestTheVersionIsFoundInWhatIsInstalled(t *testing.T) {
	for component, file := range map[string]string{"manager": "config/manager/manager.yaml", "tokenserver": "config/tokenserver/deployment.yaml"} {
		deployment := plane.Kubectl(t).Run(t, "", "create", "--dry-run=client", "--validate=false", "-o", "json", "-f", filepath.Join(testenv.ModuleRoot(), file))
		require.Contains(t, deployment, `"app.kubernetes.io/name": "connectedapps"`)
		require.Contains(t, deployment, `"app.kubernetes.io/component": "`+component+`"`)
		require.Contains(t, deployment, `"name": "`+component+`"`)
	}
}
