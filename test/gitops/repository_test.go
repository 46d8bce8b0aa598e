// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"cmp"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// schemas are what the tools' own kinds come from: their modules, as the proxy has
// them. One has the types alone, of which controller-gen makes the CRD.
var schemas = []struct{ module, sum, crds string }{
	{"github.com/argoproj/argo-cd/v3@v3.5.7", "h1:Xm1BF+I5OgDKUG3SDK49vn2/Y5AMyaNVko+/JT08gj0=", "manifests/crds/*-crd.yaml"},
	{"github.com/fluxcd/kustomize-controller@v1.9.6", "h1:XB+G3A0mky0j5uVHZWv4oSlS2RvZBoNIUhstIvY0JKE=", "config/crd/bases/*.yaml"},
	{"github.com/fluxcd/source-controller@v1.9.6", "h1:nG534/bI6nVpyHra7ONAk6xDB3xPsVT+EOLHZHXPrrc=", "config/crd/bases/*_ocirepositories.yaml"},
	{"github.com/fluxcd/helm-controller/api@v1.6.5", "h1:ElqM5KIpdUwVK1VSi1fXcMwOlf0LghuqwM2SwqaTyNs=", ""},
}

// kindsOfTools are the CRDs of Argo CD and Flux.
func kindsOfTools(t *testing.T) string {
	t.Helper()
	var documents []string
	for _, s := range schemas {
		var module struct{ Dir, Sum, Error string }
		download := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", s.module)
		download.Dir = t.TempDir() // no module of ours
		out, err := download.Output()
		require.NoError(t, json.Unmarshal(out, &module), "%s: %v", s.module, err)
		require.Empty(t, module.Error, s.module)
		require.Equal(t, s.sum, module.Sum, s.module)
		if s.crds == "" {
			generate := exec.CommandContext(t.Context(), filepath.Join(root, "bin", "tools", "controller-gen"), "crd", "paths=./v2", "output:crd:stdout")
			generate.Dir = module.Dir
			out, err = generate.Output()
			require.NoError(t, err, "run make controller-gen")
			documents = append(documents, string(out))
			continue
		}
		files, err := filepath.Glob(filepath.Join(module.Dir, s.crds))
		require.NoError(t, err)
		require.NotEmpty(t, files, s.module)
		for _, file := range files {
			documents = append(documents, read(t, file))
		}
	}
	return strings.Join(documents, "\n---\n")
}

// repository is config/samples/gitops as a tool reads it, on a control plane where
// the tools' kinds are.
type repository struct {
	*testing.T
	plane    *testenv.ControlPlane
	kubectl  *testenv.Kubectl
	instance *tokenservertest.Instance
}

// TestTheExampleRepository is kept by Argo CD, is removed, and is kept by Flux: what
// the tools read fits their schemas, what they render of it is applied in their
// order, under their name, and each step waits until the one before is healthy in
// the tool's own eyes.
func TestTheExampleRepository(t *testing.T) {
	t.Parallel()
	own, err := testenv.Start() // with the chart's policies, which are for all of a cluster
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, own.Stop()) })
	own.ShareManager(t)
	own.ShareCollector(t)
	r := &repository{T: t, plane: own, kubectl: own.Kubectl(t), instance: tokenservertest.Start(t)}
	own.Create(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: testenv.SystemNamespace, Name: "manager"},
		StringData: map[string]string{"client-id": r.instance.AdminClientID, "client-secret": r.instance.AdminClientSecret},
	})
	for _, name := range []string{"argocd", "flux-system"} {
		own.Create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	kinds := kindsOfTools(t)
	r.kubectl.Run(t, kinds, "apply", "--server-side", "-f", "-")
	r.kubectl.Run(t, kinds, "wait", "--for=condition=Established", "--timeout=1m", "-f", "-")

	for name, stages := range map[string]func(*repository) []stage{"Argo CD": (*repository).argocd, "Flux": (*repository).flux} {
		t.Run(name, func(t *testing.T) {
			kept := &repository{T: t, plane: r.plane, kubectl: r.kubectl, instance: r.instance}
			list := stages(kept)
			for _, s := range list {
				kept.sync(s)
			}
			require.Len(t, kept.clients(), 1)
			for _, s := range slices.Backward(list) {
				kept.remove(s)
			}
			require.Empty(t, kept.clients())
		})
	}
}

// stage is what a tool applies at once.
type stage struct {
	// manager owns the fields.
	manager string
	objects []*unstructured.Unstructured
	// healthy tells whether an object of ours lets the tool go on.
	healthy func(testing.TB, map[string]any) bool
}

// argocd reads what Argo CD does: the Applications of the folder, and one for each
// folder of teams.
func (r *repository) argocd() []stage {
	r.Helper()
	var list []stage
	keep := func(objects []*unstructured.Unstructured) {
		waves := map[int][]*unstructured.Unstructured{}
		for _, o := range objects {
			wave, _ := strconv.Atoi(o.GetAnnotations()["argocd.argoproj.io/sync-wave"])
			waves[wave] = append(waves[wave], o)
		}
		for _, wave := range slices.Sorted(maps.Keys(waves)) {
			list = append(list, stage{argocd, waves[wave], func(t testing.TB, o map[string]any) bool {
				return argoHealth(t, o).Status == "Healthy"
			}})
		}
	}
	for _, o := range r.validated("argocd") {
		switch o.GetKind() {
		case "Application":
			var objects []*unstructured.Unstructured
			for _, source := range slice(r, o, "spec", "sources") {
				if source["chart"] != nil {
					objects = append(objects, r.chart(field(r, o, "spec", "destination", "namespace"), source["helm"].(map[string]any)["valuesObject"])...)
				} else {
					objects = append(objects, r.render(source["path"].(string))...)
				}
			}
			keep(objects)
		case "ApplicationSet":
			pattern := slice(r, o, "spec", "generators")[0]["git"].(map[string]any)["directories"].([]any)[0].(map[string]any)["path"].(string)
			folders, err := filepath.Glob(config(path.Join("samples/gitops", pattern)))
			require.NoError(r, err)
			require.NotEmpty(r, folders)
			for _, folder := range folders {
				keep(r.render(path.Join("teams", filepath.Base(folder))))
			}
		}
	}
	return list
}

// flux reads what Flux does: the Kustomizations of the folder, and what of its own
// kinds they lead to, each after those that it depends on.
func (r *repository) flux() []stage {
	r.Helper()
	var list []stage
	known := map[string]bool{}
	var keep func(folder string)
	keep = func(folder string) {
		pending := r.validated(folder)
		for len(pending) > 0 {
			o := pending[0]
			pending = pending[1:]
			isKnown := func(other map[string]any) bool { return known[other["name"].(string)] }
			switch {
			case o.GetKind() == "HelmRelease":
				objects := r.chart(field(r, o, "spec", "targetNamespace"), o.Object["spec"].(map[string]any)["values"])
				list = append(list, stage{"helm-controller", objects, nil})
			case !strings.HasSuffix(o.GroupVersionKind().Group, ".toolkit.fluxcd.io"):
				list = append(list, stage{flux, []*unstructured.Unstructured{o}, nil})
			case o.GetKind() != "Kustomization":
			case !all(slice(r, o, "spec", "dependsOn"), isKnown):
				require.NotEmpty(r, pending, "%s depends on what is not there", o.GetName())
				pending = append(pending, o)
			default:
				known[o.GetName()] = true
				folder := strings.TrimPrefix(field(r, o, "spec", "path"), "./")
				if strings.HasPrefix(folder, "flux/") {
					keep(folder)
					continue
				}
				list = append(list, stage{flux, r.render(folder), func(t testing.TB, o map[string]any) bool {
					return fluxHealth(t, o) == kstatus.CurrentStatus
				}})
			}
		}
	}
	keep("flux")
	return list
}

// validated renders a folder with objects of a tool, and has the API server hold
// them to their schemas.
func (r *repository) validated(folder string) []*unstructured.Unstructured {
	r.Helper()
	objects := r.render(folder)
	for _, o := range objects {
		if o.GetNamespace() == "orders" {
			continue // comes later
		}
		r.apply(stage{manager: "kubectl", objects: []*unstructured.Unstructured{o}}, "--dry-run=server")
	}
	return objects
}

// render is what kustomize makes of a folder, with the token server of the test.
func (r *repository) render(folder string) []*unstructured.Unstructured {
	r.Helper()
	objects := documents(r, r.kubectl.Run(r, "", "kustomize", config(path.Join("samples/gitops", folder))))
	for _, o := range objects {
		if o.GetKind() != "TokenServer" {
			continue
		}
		spec := o.Object["spec"].(map[string]any)
		require.Equal(r, "https://tokenserver.connectedapps-system.svc", spec["url"])
		require.Equal(r, map[string]any{"type": "ServiceAccount", "clientID": "connectedapps-manager"}, spec["credentials"])
		spec["url"] = r.instance.URL
		delete(spec, "caBundle")
		// This manager runs as nobody's ServiceAccount.
		spec["credentials"] = map[string]any{"type": "Secret", "secretRef": map[string]any{"name": "manager"}}
	}
	return objects
}

// chart is what Helm makes of ours.
func (r *repository) chart(namespace string, values any) []*unstructured.Unstructured {
	r.Helper()
	require.Equal(r, testenv.SystemNamespace, namespace)
	data, err := yaml.Marshal(values)
	require.NoError(r, err)
	file := filepath.Join(r.TempDir(), "values.yaml")
	require.NoError(r, os.WriteFile(file, data, 0o600))
	helm := exec.CommandContext(r.Context(), filepath.Join(root, "bin", "helm", "helm4"), "template", "connectedapps", filepath.Join(root, "charts", "connectedapps"),
		"--namespace="+namespace, "--values="+file)
	out, err := helm.Output()
	require.NoError(r, err, "run make helm")
	require.Contains(r, string(out), "registry.example.com/connectedapps/manager")
	return documents(r, string(out))
}

// sync applies a stage and waits until the tool would go on.
func (r *repository) sync(s stage) {
	r.Helper()
	r.apply(s)
	for _, o := range s.objects {
		if o.GroupVersionKind().Group != "connectedapps.dev" {
			continue
		}
		testenv.Eventually(r, func(c *require.Assertions) {
			live := o.DeepCopy()
			c.NoError(r.plane.Client.Get(r.Context(), client.ObjectKeyFromObject(o), live))
			c.True(s.healthy(r, live.Object), "%v", live.Object)
		})
	}
}

func (r *repository) apply(s stage, flags ...string) {
	r.Helper()
	var list []string
	for _, o := range s.objects {
		data, err := yaml.Marshal(o.Object)
		require.NoError(r, err)
		list = append(list, string(data))
	}
	args := append([]string{"apply", "--server-side", "--force-conflicts", "--field-manager=" + s.manager, "-f", "-"}, flags...)
	r.kubectl.Run(r, strings.Join(list, "\n---\n"), args...)
}

// remove deletes what a stage has, but for what says that it stays.
func (r *repository) remove(s stage) {
	r.Helper()
	for _, o := range slices.Backward(s.objects) {
		if marks := o.GetAnnotations(); marks["helm.sh/resource-policy"] != "keep" && marks["kustomize.toolkit.fluxcd.io/prune"] != "disabled" {
			require.NoError(r, client.IgnoreNotFound(r.plane.Client.Delete(r.Context(), o)))
		}
	}
	for _, o := range s.objects {
		if o.GroupVersionKind().Group == "connectedapps.dev" {
			r.kubectl.Run(r, "", "wait", "--for=delete", "--timeout=1m", "-n", cmp.Or(o.GetNamespace(), "default"), o.GetKind()+".connectedapps.dev/"+o.GetName())
		}
	}
}

// clients are those that the manager made.
func (r *repository) clients() map[string]string { return clientsOf(r, r.instance) }

// documents are the objects in a text.
func documents(t testing.TB, text string) []*unstructured.Unstructured {
	t.Helper()
	var list []*unstructured.Unstructured
	for document := range strings.SplitSeq("\n"+text, "\n---\n") {
		o := &unstructured.Unstructured{}
		require.NoError(t, yaml.Unmarshal([]byte(document), &o.Object))
		if len(o.Object) > 0 {
			list = append(list, o)
		}
	}
	return list
}

// field is a text of an object.
func field(t testing.TB, o *unstructured.Unstructured, names ...string) string {
	t.Helper()
	value, found, err := unstructured.NestedString(o.Object, names...)
	require.NoError(t, err)
	require.True(t, found, "%s has no %s", o.GetName(), strings.Join(names, "."))
	return value
}

// slice is a list of an object, which may have none.
func slice(t testing.TB, o *unstructured.Unstructured, names ...string) []map[string]any {
	t.Helper()
	values, _, err := unstructured.NestedSlice(o.Object, names...)
	require.NoError(t, err)
	var list []map[string]any
	for _, value := range values {
		list = append(list, value.(map[string]any))
	}
	return list
}

func all(list []map[string]any, is func(map[string]any) bool) bool {
	return !slices.ContainsFunc(list, func(one map[string]any) bool { return !is(one) })
}
