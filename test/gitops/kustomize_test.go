// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/api/v1alpha1"
)

// shop is testdata/shop beside the components, in a kustomization that changes
// names.
func shop(t *testing.T, transformers string) *built {
	t.Helper()
	folder := t.TempDir()
	// kustomize takes relative paths alone.
	require.NoError(t, os.CopyFS(filepath.Join(folder, "components"), os.DirFS(config("components"))))
	require.NoError(t, os.CopyFS(filepath.Join(folder, "shop"), os.DirFS(filepath.Join("testdata", "shop"))))
	overlay := filepath.Join(folder, "overlay")
	require.NoError(t, os.Mkdir(overlay, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte("resources: [../shop]\n"+transformers), 0o600))
	return &built{T: t, manifests: plane.Kubectl(t).Run(t, "", "kustomize", overlay)}
}

// built is what kustomize made.
type built struct {
	*testing.T
	manifests string
}

// find reads the object of o's kind of which the name matches.
func find[T client.Object](b *built, kind, name string, o T) T {
	b.Helper()
	var found []string
	for document := range strings.SplitSeq(b.manifests, "\n---\n") {
		var head struct {
			Kind     string
			Metadata struct{ Name string }
		}
		require.NoError(b, yaml.Unmarshal([]byte(document), &head))
		if head.Kind == kind && regexp.MustCompile("^"+name+"$").MatchString(head.Metadata.Name) {
			found = append(found, document)
		}
	}
	require.Len(b, found, 1, "%s %s in:\n%s", kind, name, b.manifests)
	require.NoError(b, yaml.Unmarshal([]byte(found[0]), o))
	return o
}

// TestReferencesFollowNames: whatever names change to, who is named and who names
// agree.
func TestReferencesFollowNames(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct{ transformers, prefix, suffix, namespace string }{
		"as they are":              {},
		"namePrefix":               {"namePrefix: dev-", "dev-", "", ""},
		"nameSuffix":               {"nameSuffix: -v2", "", "-v2", ""},
		"namespace":                {"namespace: team", "", "", "team"},
		"all of them":              {"namePrefix: dev-\nnameSuffix: -v2\nnamespace: team", "dev-", "-v2", "team"},
		"a prefix that is no name": {"namePrefix: shop-", "shop-", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := shop(t, row.transformers)
			changed := func(name string) string { return row.prefix + name + row.suffix }
			server := find(b, "TokenServer", changed("corporate"), &v1alpha1.TokenServer{})
			app := find(b, "ConnectedApp", changed("shop"), &v1alpha1.ConnectedApp{})
			billing := find(b, "ConnectedApp", changed("billing"), &v1alpha1.ConnectedApp{})
			token := find(b, "AccessToken", changed("shop"), &v1alpha1.AccessToken{})
			web := find(b, "Deployment", changed("web"), &appsv1.Deployment{})
			nightly := find(b, "CronJob", changed("nightly"), &batchv1.CronJob{})
			// Their generators add hashes.
			keys := find(b, "ConfigMap", changed("keys")+"-.{10}", &corev1.ConfigMap{})
			ca := find(b, "ConfigMap", changed("ca")+"-.{10}", &corev1.ConfigMap{})
			vault := find(b, "Secret", changed("vault")+"-.{10}", &corev1.Secret{})
			admin := find(b, "Secret", changed("admin")+"-.{10}", &corev1.Secret{})
			require.Equal(t, 2, strings.Count(b.manifests, "kind: Secret\n"), "what the manager makes is not in the result")

			require.Equal(t, ca.Name, server.Spec.CABundle.ConfigMapRef.Name)
			require.Equal(t, admin.Name, server.Spec.Credentials.SecretRef.Name)
			require.Equal(t, server.Name, app.TokenServerName())
			require.Equal(t, server.Name, billing.TokenServerName())
			require.Equal(t, keys.Name, billing.Spec.PublicKeys[0].ConfigMapRef.Name)
			require.Equal(t, vault.Name, billing.CredentialsSecretName())
			require.Equal(t, app.Name, token.Spec.ConnectedAppRef.Name)
			require.Equal(t, web.Name, token.Spec.Restart[0].Name)
			require.Equal(t, web.Name, app.Restarts()[1].Name)
			require.Equal(t, "elsewhere", app.Restarts()[0].Name, "what is not in the kustomization keeps its name")

			require.Equal(t, app.Name, web.Labels["connectedapps.dev/inject"])
			require.Equal(t, vault.Name, web.Annotations["connectedapps.dev/existing-secret"])
			require.Equal(t, app.Name, web.Spec.Template.Labels["connectedapps.dev/inject"])
			require.Equal(t, app.PublishedSecretName(), web.Spec.Template.Annotations["connectedapps.dev/inject-secret"])
			pod := web.Spec.Template.Spec
			volumes := map[string]string{}
			for _, v := range pod.Volumes {
				if v.Secret != nil {
					volumes[v.Name] = v.Secret.SecretName
				}
				if v.Projected != nil {
					volumes[v.Name] = v.Projected.Sources[0].Secret.Name
				}
			}
			require.Equal(t, map[string]string{"connectedapps-credentials": app.PublishedSecretName(), "shop-token": token.SecretName()}, volumes)
			require.Equal(t, "connectedapps-refresher", pod.InitContainers[0].Name)
			require.Equal(t, app.PublishedSecretName(), pod.Containers[0].EnvFrom[0].SecretRef.Name)
			require.Equal(t, app.PublishedSecretName(), pod.Containers[0].Env[0].ValueFrom.SecretKeyRef.Name)
			require.Equal(t, token.SecretName(), nightly.Spec.JobTemplate.Spec.Template.Spec.Volumes[0].Projected.Sources[0].Secret.Name)
			require.Equal(t, changed("shop-credentials"), app.PublishedSecretName())
			for _, o := range []client.Object{app, billing, token, web, nightly, keys, vault} {
				require.Equal(t, row.namespace, o.GetNamespace())
			}
		})
	}
}

// TestDefaultNamesOfSecretsAreNotFollowed is what docs/gitops.md says that kustomize
// cannot do: with it a name in the spec is needed.
func TestDefaultNamesOfSecretsAreNotFollowed(t *testing.T) {
	t.Parallel()
	b := shop(t, `
nameSuffix: -v2
patches:
- target: {kind: ConnectedApp, name: shop}
  patch: |
    - {op: remove, path: /spec/credentials/secret}
`)
	app := find(b, "ConnectedApp", "shop-v2", &v1alpha1.ConnectedApp{})
	web := find(b, "Deployment", "web-v2", &appsv1.Deployment{})
	require.Equal(t, "shop-v2-credentials", app.PublishedSecretName())
	require.Equal(t, "shop-credentials-v2", web.Spec.Template.Spec.Containers[0].EnvFrom[0].SecretRef.Name)
}

// TestANamespaceOnATokenServerIsHarmless: kustomize gives one to every kind that it
// does not know.
func TestANamespaceOnATokenServerIsHarmless(t *testing.T) {
	t.Parallel()
	kubectl, namespace := plane.Kubectl(t), plane.Namespace(t, nil)
	b := shop(t, "namePrefix: "+namespace+"-\nnamespace: "+namespace)
	manifests := b.manifests
	kubectl.Run(t, manifests, "apply", "--server-side", "-f", "-")
	requireUnchanged(t, kubectl, manifests, []string{"--server-side"}, find(b, "TokenServer", namespace+"-corporate", &v1alpha1.TokenServer{}))
}
