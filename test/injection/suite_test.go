// SPDX-License-Identifier: Apache-2.0

package injection

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/internal/testenv"
)

const (
	label          = "connectedapps.dev/inject"
	secretName     = "connectedapps.dev/inject-secret"
	existingSecret = "connectedapps.dev/existing-secret"

	sidecarName = "connectedapps-refresher"
	tokenVolume = "connectedapps-token"
	credentials = "connectedapps-credentials"
	tokenPath   = "/var/run/connectedapps/token"
)

var (
	plane *testenv.ControlPlane
	root  = testenv.ModuleRoot()
)

func TestMain(m *testing.M) { os.Exit(testenv.Run(m, &plane)) }

func config(name string) string { return filepath.Join(root, "config", filepath.FromSlash(name)) }

var installed sync.Once

// install applies the product with its policy, for all tests of the package, and
// waits until the policy bites.
func install(t *testing.T) {
	t.Helper()
	installed.Do(func() {
		kubectl := plane.Kubectl(t)
		kubectl.Run(t, "", "apply", "--server-side", "--force-conflicts", "-k", config("default"))
		kubectl.Run(t, "", "apply", "--server-side", "-k", config("injection"))
	})
	bites(t)
}

func bites(t *testing.T) {
	t.Helper()
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NotNil(find(admit(t, c, pod("default", "gitproxy")).Spec.InitContainers, sidecarName), "the policy adds nothing yet")
		c.ErrorContains(plane.Client.Create(t.Context(), pod("default", "gitproxy", annotated(secretName, "")), client.DryRunAll), secretName)
	})
}

// pod is one of an app that comes under the restricted Pod Security level; with an
// empty name of an app one that asks for nothing.
func pod(namespace, app string, change ...func(*corev1.Pod)) *corev1.Pod {
	template := podTemplate(app)
	p := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
	p.Namespace, p.GenerateName = namespace, "pod-"
	for _, f := range change {
		f(p)
	}
	return p
}

func podTemplate(app string) corev1.PodTemplateSpec {
	restricted := &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	template := corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: new(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		InitContainers: []corev1.Container{{Name: "migrate", Image: "migrate", SecurityContext: restricted}},
		Containers: []corev1.Container{
			{Name: "web", Image: "web", SecurityContext: restricted},
			{Name: "cache", Image: "cache", SecurityContext: restricted, VolumeMounts: []corev1.VolumeMount{{Name: "cache", MountPath: "/cache"}}},
		},
		Volumes: []corev1.Volume{{Name: "cache", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
	}}
	if app != "" {
		template.Labels = map[string]string{label: app}
	}
	return template
}

func annotated(key, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { metav1.SetMetaDataAnnotation(&p.ObjectMeta, key, value) }
}

// admit is the Pod as the API server would store it.
func admit(t *testing.T, c *require.Assertions, p *corev1.Pod) *corev1.Pod {
	t.Helper()
	admitted := p.DeepCopy()
	c.NoError(plane.Client.Create(t.Context(), admitted, client.DryRunAll))
	return admitted
}

func find(containers []corev1.Container, name string) *corev1.Container {
	for i := range containers {
		if containers[i].Name == name {
			return &containers[i]
		}
	}
	return nil
}

// volume of a Pod; nil: it has none of that name.
func volume(spec corev1.PodSpec, name string) *corev1.Volume {
	for i := range spec.Volumes {
		if spec.Volumes[i].Name == name {
			return &spec.Volumes[i]
		}
	}
	return nil
}

// secretsOf are the names of the Secrets in the volume with credentials.
func secretsOf(t *testing.T, spec corev1.PodSpec) []string {
	t.Helper()
	v := volume(spec, credentials)
	require.NotNil(t, v)
	require.NotNil(t, v.Projected)
	var names []string
	for _, s := range v.Projected.Sources {
		if s.Secret != nil {
			names = append(names, s.Secret.Name)
		}
	}
	return names
}

// kinds are the workloads that the component knows.
var kinds = []string{"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"}

// workload of a kind whose Pods carry a label with its name.
func workload(kind, name string, template corev1.PodTemplateSpec) client.Object {
	meta := metav1.ObjectMeta{Name: name}
	template.Labels = maps.Clone(template.Labels)
	metav1.SetMetaDataLabel(&template.ObjectMeta, "workload", name)
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"workload": name}}
	job := batchv1.JobSpec{Template: template}
	switch kind {
	case "Deployment":
		return &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Selector: selector, Template: template}}
	case "StatefulSet":
		return &appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Selector: selector, Template: template}}
	case "DaemonSet":
		return &appsv1.DaemonSet{ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{Selector: selector, Template: template}}
	case "Job":
		job.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
		return &batchv1.Job{ObjectMeta: meta, Spec: job}
	case "CronJob":
		job.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
		return &batchv1.CronJob{ObjectMeta: meta, Spec: batchv1.CronJobSpec{
			Schedule: "0 3 1 1 *", JobTemplate: batchv1.JobTemplateSpec{Spec: job},
		}}
	}
	panic(kind)
}

// templateOf is what a workload makes its Pods of.
func templateOf(t *testing.T, o client.Object) *corev1.PodTemplateSpec {
	t.Helper()
	switch o := o.(type) {
	case *appsv1.Deployment:
		return &o.Spec.Template
	case *appsv1.StatefulSet:
		return &o.Spec.Template
	case *appsv1.DaemonSet:
		return &o.Spec.Template
	case *batchv1.Job:
		return &o.Spec.Template
	case *batchv1.CronJob:
		return &o.Spec.JobTemplate.Spec.Template
	}
	require.FailNow(t, "no workload", "%T", o)
	return nil
}

// manifests are objects as they are written in a repository.
func manifests(t *testing.T, objects ...client.Object) string {
	t.Helper()
	var documents []string
	for _, o := range objects {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		require.NoError(t, err)
		kind, err := apiutil.GVKForObject(o, plane.Scheme)
		require.NoError(t, err)
		content["apiVersion"], content["kind"] = kind.ToAPIVersionAndKind()
		delete(content, "status")
		data, err := yaml.Marshal(content)
		require.NoError(t, err)
		documents = append(documents, string(data))
	}
	return strings.Join(documents, "---\n")
}

// layers are kustomizations one upon the other; the first has the objects.
type layers []string

const withRefresher = "components: [../components/refresher]\n"

// tryBuild is what kubectl kustomize prints for objects.
func (l layers) tryBuild(t *testing.T, objects ...client.Object) (stdout, stderr string, err error) {
	t.Helper()
	folder := t.TempDir()
	// kustomize takes relative paths alone.
	require.NoError(t, os.CopyFS(filepath.Join(folder, "components"), os.DirFS(config("components"))))
	below := "objects.yaml"
	for i, kustomization := range l {
		dir := filepath.Join(folder, fmt.Sprint(i))
		require.NoError(t, os.Mkdir(dir, 0o755))
		if i == 0 {
			require.NoError(t, os.WriteFile(filepath.Join(dir, below), []byte(manifests(t, objects...)), 0o600))
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte("resources: ["+below+"]\n"+kustomization), 0o600))
		below = "../" + fmt.Sprint(i)
	}
	return plane.Kubectl(t).Try(t, "", "kustomize", filepath.Join(folder, fmt.Sprint(len(l)-1)))
}

// build is what kustomize makes of objects, by kind and name.
func (l layers) build(t *testing.T, objects ...client.Object) map[string]client.Object {
	t.Helper()
	stdout, stderr, err := l.tryBuild(t, objects...)
	require.NoError(t, err, stderr)
	built := map[string]client.Object{}
	for document := range strings.SplitSeq(stdout, "\n---\n") {
		head := &metav1.TypeMeta{}
		require.NoError(t, yaml.Unmarshal([]byte(document), head))
		o, err := plane.Scheme.New(head.GroupVersionKind())
		require.NoError(t, err)
		require.NoError(t, yaml.UnmarshalStrict([]byte(document), o), document)
		object, ok := o.(client.Object)
		require.True(t, ok)
		built[head.Kind+" "+object.GetName()] = object
	}
	return built
}
