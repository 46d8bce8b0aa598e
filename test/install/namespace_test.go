// SPDX-License-Identifier: Apache-2.0

package install

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/api/v1alpha1"
)

// identity is the namespace of an installation elsewhere.
const identity = "identity"

// besideConfig writes files beside a copy of config/ and returns the folder.
func besideConfig(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(dir, "config"), os.DirFS(filepath.Join(root, "config"))))
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	return dir
}

// TestNothingIsLeftInTheUsualNamespace when a kustomization names another: neither
// in a name nor in the text of a configuration or policy.
func TestNothingIsLeftInTheUsualNamespace(t *testing.T) {
	kustomization := func(name string) string {
		text, err := os.ReadFile(filepath.Join(config(name), "kustomization.yaml"))
		require.NoError(t, err)
		return string(text)
	}
	const in = "namespace: identity\n"
	for name, files := range map[string]map[string]string{
		"of all": {"ours/kustomization.yaml": in + "resources: [../config/default, ../config/injection]\n"},
		// As Flux writes a targetNamespace.
		"of the folders themselves": {
			"config/default/kustomization.yaml":   kustomization("default") + in,
			"config/injection/kustomization.yaml": kustomization("injection") + in,
			"ours/kustomization.yaml":             "resources: [../config/default, ../config/injection]\n",
		},
		"of a layer in between": {
			"below/kustomization.yaml": in + "resources: [../config/default, ../config/injection]\n",
			"ours/kustomization.yaml":  "resources: [../below]\n",
		},
		"of token servers on PostgreSQL": {"ours/kustomization.yaml": in + "resources: [../config/postgresql]\n"},
		"below a list of namespaces": {
			"below/kustomization.yaml":         in + "resources: [../config/default]\n",
			"ours/payments/kustomization.yaml": "namespace: payments\nresources: [../../config/rbac/tenant]\n",
			"ours/kustomization.yaml": strings.NewReplacer("../default", "../below", "../components", "../config/components").
				Replace(kustomization("namespaced")),
		},
	} {
		t.Run(name, func(t *testing.T) {
			folder := filepath.Join(besideConfig(t, files), "ours")
			require.NotContains(t, kubectl(t, "", "kustomize", folder), systemNamespace)
			bindings := objectsIn[rbacv1.RoleBinding](t, folder, "RoleBinding")
			for _, b := range append(bindings, clusterBindingsIn(t, folder)...) {
				for _, s := range b.Subjects {
					require.Equal(t, identity, s.Namespace, b.Name)
				}
			}
			if name == "below a list of namespaces" {
				var places []string
				for _, b := range bindings {
					places = append(places, b.Namespace)
				}
				require.ElementsMatch(t, []string{identity, identity, "default", "payments"}, places)
			}
		})
	}
}

func clusterBindingsIn(t *testing.T, folder string) []*rbacv1.RoleBinding {
	t.Helper()
	return objectsIn[rbacv1.RoleBinding](t, folder, "ClusterRoleBinding")
}

// TestAnInstallationInAnotherNamespaceWorks as it comes from kustomize, with all
// that follows the namespace: rights, URL, certificate, policies.
func TestAnInstallationInAnotherNamespaceWorks(t *testing.T) {
	install(t) // the kinds
	defer install(t)
	folder := filepath.Join(besideConfig(t, map[string]string{
		"ours/kustomization.yaml": "namespace: identity\nresources: [../config/default, ../config/injection]\n",
	}), "ours")
	kubectl(t, "", "apply", "--server-side", "-k", folder)
	defer kubectl(t, "", "delete", "mutatingadmissionpolicy/connectedapps-injection", "mutatingadmissionpolicybinding/connectedapps-injection")

	b := newBundledIn(t, "elsewhere-team", folder, identity)
	configuration := objectsIn[corev1.ConfigMap](t, folder, "ConfigMap")
	var text string
	for _, c := range configuration {
		text += c.Data["config.yaml"]
	}
	b.startManager()
	b.startServer(text)
	server := b.sample("elsewhere")
	server.Spec.URL, server.Spec.InternalURL = "https://tokenserver.identity.svc", "https://"+b.public
	b.create(server)
	b.ready(server)
	require.Equal(t, "https://tokenserver.identity.svc/accounts/api/v2/oauth2", server.Status.Issuer)
	app := b.register(server, "app")
	defer func() { b.delete(app); b.delete(server) }()

	block, _ := pem.Decode(b.secret(identity, "tokenserver-tls", exists).Data["tls.crt"])
	certificate, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	require.NoError(t, certificate.VerifyHostname("tokenserver.identity.svc"))

	taken := func(namespace string) error {
		token := &v1alpha1.AccessToken{
			Spec: v1alpha1.AccessTokenSpec{
				ConnectedAppRef: v1alpha1.ConnectedAppReference{Name: "app"}, Secret: &v1alpha1.TokenSecretSpec{Name: "tokenserver-keys"},
			},
		}
		token.APIVersion, token.Kind = v1alpha1.GroupVersion.String(), "AccessToken"
		token.Name, token.Namespace = "taken", namespace
		manifest, err := yaml.Marshal(token)
		require.NoError(t, err)
		_, _, err = tryKubectl(t, string(manifest), "create", "--dry-run=server", "-f", "-")
		return err
	}
	eventually(t, func(c *require.Assertions) {
		c.Error(taken(identity), "the names of the bundled server's Secrets are reserved where it is")
		c.NoError(taken(systemNamespace), "and nowhere else")
	})

	var binding admissionregistrationv1.MutatingAdmissionPolicyBinding
	require.NoError(t, yaml.Unmarshal([]byte(kubectl(t, "", "get", "-o", "yaml", "mutatingadmissionpolicybinding", "connectedapps-injection")), &binding))
	require.Equal(t, identity, binding.Spec.ParamRef.Namespace)
	eventually(t, func(c *require.Assertions) {
		out, stderr, err := tryKubectl(t, podThatAsks, "create", "--dry-run=server", "-f", "-", "-o", "yaml")
		c.NoError(err, stderr)
		c.Contains(out, "name: connectedapps-refresher", "the policy finds its parameters")
	})
}

const podThatAsks = `
apiVersion: v1
kind: Pod
metadata: {name: asks, namespace: elsewhere-team, labels: {connectedapps.dev/inject: app}}
spec:
  containers: [{name: main, image: example.com/main}]
`
