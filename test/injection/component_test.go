// SPDX-License-Identifier: Apache-2.0

package injection

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
)

// labelled is a workload for the component, whose label names an app, and
// annotations by key and value.
func labelled(kind, name, app string, annotations ...string) client.Object {
	o := workload(kind, name, podTemplate(""))
	o.SetLabels(map[string]string{label: app})
	all := map[string]string{}
	for i := 0; i < len(annotations); i += 2 {
		all[annotations[i]] = annotations[i+1]
	}
	o.SetAnnotations(all)
	return o
}

// known tells kustomize of a Secret that the manager makes.
func known(name string) client.Object {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Name: name, Annotations: map[string]string{"config.kubernetes.io/local-config": "true"},
	}}
}

func app(name, secret string) *v1alpha1.ConnectedApp {
	a := &v1alpha1.ConnectedApp{ObjectMeta: metav1.ObjectMeta{Name: name}}
	a.Spec.GrantTypes = []v1alpha1.GrantType{"client_credentials"}
	if secret != "" {
		a.Spec.Credentials = &v1alpha1.Credentials{Secret: &v1alpha1.CredentialsSecretSpec{Name: secret}}
	}
	return a
}

// TestEveryWorkloadGetsTheSidecarOfItsOwnApp: of each kind one whose app is
// elsewhere, one whose app is in the kustomization, and one without the label.
func TestEveryWorkloadGetsTheSidecarOfItsOwnApp(t *testing.T) {
	t.Parallel()
	const names = "namePrefix: dev-\nnameSuffix: -v2\n"
	for name, row := range map[string]struct {
		layers         layers
		prefix, suffix string
	}{
		"names stay":                             {layers: layers{withRefresher}},
		"a namespace":                            {layers: layers{withRefresher + "namespace: team\n"}},
		"a prefix":                               {layers{withRefresher + "namePrefix: dev-\n"}, "dev-", ""},
		"a suffix":                               {layers{withRefresher + "nameSuffix: -v2\n"}, "", "-v2"},
		"both":                                   {layers{withRefresher + names}, "dev-", "-v2"},
		"both, above the component":              {layers{withRefresher, names}, "dev-", "-v2"},
		"both, below the component":              {layers{names, withRefresher}, "dev-", "-v2"},
		"both, with the references before":       {layers{"components: [../components/names, ../components/refresher]\n" + names}, "dev-", "-v2"},
		"both, with the references after":        {layers{"components: [../components/refresher, ../components/names]\n" + names}, "dev-", "-v2"},
		"both, with the references below":        {layers{"components: [../components/names]\n" + names, withRefresher}, "dev-", "-v2"},
		"both, with the references above":        {layers{withRefresher, "components: [../components/names]\n" + names}, "dev-", "-v2"},
		"both, and the component on every layer": {layers{withRefresher, withRefresher + names, withRefresher}, "dev-", "-v2"},
		"one prefix in another":                  {layers{"namePrefix: b-\n", withRefresher + "namePrefix: a-\n"}, "a-b-", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var objects []client.Object
			for _, kind := range kinds {
				here := "here-" + strings.ToLower(kind)
				objects = append(objects,
					labelled(kind, "one", "elsewhere-"+strings.ToLower(kind)),
					labelled(kind, "two", here, secretName, here+"-login"), app(here, here+"-login"), known(here+"-login"),
					workload(kind, "plain", podTemplate("")))
			}
			changed := func(name string) string { return row.prefix + name + row.suffix }
			plain := layers{}
			for _, kustomization := range row.layers {
				var kept []string
				for line := range strings.Lines(kustomization) {
					if !strings.HasPrefix(line, "components:") {
						kept = append(kept, line)
					}
				}
				plain = append(plain, strings.Join(kept, ""))
			}
			built, without := row.layers.build(t, objects...), plain.build(t, objects...)
			require.Len(t, built, len(without))
			for _, kind := range kinds {
				elsewhere, here := "elsewhere-"+strings.ToLower(kind), "here-"+strings.ToLower(kind)

				one := built[kind+" "+changed("one")]
				require.Equal(t, elsewhere, one.GetLabels()[label])
				template := templateOf(t, one)
				require.Equal(t, elsewhere, template.Labels[label])
				require.NotContains(t, template.Annotations, secretName)
				require.Equal(t, []string{elsewhere + "-credentials"}, secretsOf(t, template.Spec))
				require.Equal(t, sidecarName, template.Spec.InitContainers[0].Name)

				two := built[kind+" "+changed("two")]
				require.Equal(t, changed(here), two.GetLabels()[label])
				template = templateOf(t, two)
				require.Equal(t, changed(here), template.Labels[label])
				require.Equal(t, changed(here+"-login"), template.Annotations[secretName])
				require.Equal(t, []string{changed(here + "-login")}, secretsOf(t, template.Spec))
				connected, ok := built["ConnectedApp "+changed(here)].(*v1alpha1.ConnectedApp)
				require.True(t, ok)
				require.Equal(t, template.Annotations[secretName], connected.PublishedSecretName())

				require.Equal(t, without[kind+" "+changed("plain")], built[kind+" "+changed("plain")])
			}
		})
	}
}

// TestTheSidecarIsTheSameInEveryKind: there is one definition of it.
func TestTheSidecarIsTheSameInEveryKind(t *testing.T) {
	t.Parallel()
	var objects []client.Object
	for _, kind := range kinds {
		objects = append(objects, labelled(kind, "web", "shop"))
	}
	built := layers{withRefresher}.build(t, objects...)
	first := templateOf(t, built["Deployment web"]).Spec
	require.Equal(t, "connectedapps/refresher:dev", first.InitContainers[0].Image)
	for _, kind := range kinds {
		spec := templateOf(t, built[kind+" web"]).Spec
		require.Len(t, spec.InitContainers, 2)
		require.Equal(t, first.InitContainers[0], spec.InitContainers[0])
		require.Equal(t, "migrate", spec.InitContainers[1].Name, "the application's own init containers find a token")
		require.Equal(t, corev1.ContainerRestartPolicyAlways, *spec.InitContainers[0].RestartPolicy)
		require.Equal(t, "/startupz", spec.InitContainers[0].StartupProbe.HTTPGet.Path)
		require.Equal(t, "/healthz", spec.InitContainers[0].LivenessProbe.HTTPGet.Path)
		require.Len(t, spec.Volumes, 3)
		require.Equal(t, first.Volumes, spec.Volumes)
		require.Equal(t, corev1.StorageMediumMemory, volume(spec, tokenVolume).EmptyDir.Medium)
		require.NotNil(t, volume(spec, "cache"), "the application's own volumes stay")
		require.Len(t, spec.Containers, 2)
	}
}

// TestTheImageIsTheKustomizations: whoever uses the component names the image as
// any other.
func TestTheImageIsTheKustomizations(t *testing.T) {
	t.Parallel()
	built := layers{withRefresher + "images: [{name: connectedapps/refresher, newName: registry.example.com/refresher, newTag: v1}]\n"}.
		build(t, labelled("CronJob", "web", "shop"))
	require.Equal(t, "registry.example.com/refresher:v1", templateOf(t, built["CronJob web"]).Spec.InitContainers[0].Image)
}

// TestAVolumeOfThatNameIsNotMixedUp: the Secret's name goes to the volume with
// credentials or nowhere.
func TestAVolumeOfThatNameIsNotMixedUp(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		o := labelled(kind, "web", "shop")
		spec := &templateOf(t, o).Spec
		spec.Volumes = append(spec.Volumes,
			corev1.Volume{Name: credentials, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{}}},
			corev1.Volume{Name: tokenVolume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
		built := layers{withRefresher}.build(t, o)
		require.Equal(t, []string{"shop-credentials"}, secretsOf(t, templateOf(t, built[kind+" web"]).Spec))
	}
}

const withExistingSecret = "components: [../components/refresher, ../components/refresher/existing-secret]\n"

func TestComponentMountsAnExistingSecretBesideItsCompanion(t *testing.T) {
	t.Parallel()
	var objects []client.Object
	for _, kind := range kinds {
		objects = append(objects,
			labelled(kind, "web", "shop-"+strings.ToLower(kind), existingSecret, "vault-"+strings.ToLower(kind)), known("vault-"+strings.ToLower(kind)),
			labelled(kind, "named", "shop", existingSecret, "shop-credentials", secretName, "shop-client"),
			labelled(kind, "other", "billing"))
	}
	built := layers{withExistingSecret + "namePrefix: dev-\n", withExistingSecret}.build(t, objects...)
	for _, kind := range kinds {
		name := strings.ToLower(kind)
		web := templateOf(t, built[kind+" dev-web"])
		require.Equal(t, "dev-vault-"+name, web.Annotations[existingSecret])
		require.Equal(t, []corev1.VolumeProjection{
			{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "shop-" + name + "-credentials"}, Optional: new(true)}},
			{Secret: &corev1.SecretProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: "dev-vault-" + name}, Optional: new(true),
				Items: []corev1.KeyToPath{{Key: "client-secret", Path: "client-secret"}},
			}},
		}, volume(web.Spec, credentials).Projected.Sources, "all of the companion, and the value alone of the other")
		require.Equal(t, int32(0o444), *volume(web.Spec, credentials).Projected.DefaultMode)
		require.Equal(t, []string{"shop-client", "shop-credentials"}, secretsOf(t, templateOf(t, built[kind+" dev-named"]).Spec))
		require.Equal(t, []string{"billing-credentials"}, secretsOf(t, templateOf(t, built[kind+" dev-other"]).Spec))
	}
}

// onThePage is what a code block of the page has below its first line.
func onThePage(t *testing.T, first string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(root, "docs", "token-delivery.md"))
	require.NoError(t, err)
	_, after, found := strings.Cut(string(page), "```yaml\n"+first)
	require.True(t, found, first)
	block, _, _ := strings.Cut(after, "```")
	return block
}

// The page shows how to name another key.
func TestThePatchOfTheExistingSecretOnThePageWorks(t *testing.T) {
	t.Parallel()
	patch := onThePage(t, "# kustomization.yaml, for an ExistingSecret with another key\n")
	built := layers{withExistingSecret + patch}.build(t, labelled("Deployment", "web", "gitproxy", existingSecret, "gitproxy-password"))
	sources := volume(templateOf(t, built["Deployment web"]).Spec, credentials).Projected.Sources
	require.Equal(t, "gitproxy-password", sources[1].Secret.Name)
	require.Equal(t, []corev1.KeyToPath{{Key: "password", Path: "client-secret"}}, sources[1].Secret.Items)
}
