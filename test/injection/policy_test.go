// SPDX-License-Identifier: Apache-2.0

package injection

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/internal/testenv"
)

var restricted = map[string]string{"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest"}

// podOf waits for the Pod that the controllers make of a workload.
func podOf(t *testing.T, namespace, name string) *corev1.Pod {
	t.Helper()
	pods := &corev1.PodList{}
	testenv.EventuallyWithin(t, 2*time.Minute, func(c *require.Assertions) {
		c.NoError(plane.Client.List(t.Context(), pods, client.InNamespace(namespace), client.MatchingLabels{"workload": name}))
		c.NotEmpty(pods.Items, "no Pod of %s", name)
	})
	return &pods.Items[0]
}

// run creates a workload; a CronJob at once.
func run(t *testing.T, namespace string, o client.Object) *corev1.Pod {
	t.Helper()
	o.SetNamespace(namespace)
	plane.Create(t, o)
	if o.GetName() == "cronjob" || strings.HasSuffix(o.GetName(), "-cronjob") {
		plane.Kubectl(t).Run(t, "", "create", "job", "-n", namespace, o.GetName()+"-now", "--from=cronjob/"+o.GetName())
	}
	return podOf(t, namespace, o.GetName())
}

// node is one that nobody runs, for the Pods of DaemonSets.
func node(t *testing.T) {
	t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{GenerateName: "node-"}}
	plane.Create(t, n)
	n.Spec.Taints = nil // not ready, it says
	require.NoError(t, plane.Client.Update(t.Context(), n))
}

// TestAPodOfEveryKindGetsWhatTheComponentRenders: with the label in its Pods a
// workload gets the same sidecar and volumes from the policy as one with the
// label on itself from the component, in a namespace that takes restricted Pods
// alone.
func TestAPodOfEveryKindGetsWhatTheComponentRenders(t *testing.T) {
	t.Parallel()
	install(t)
	plane.ShareWorkloads(t)
	node(t)
	namespace := plane.Namespace(t, restricted)
	for _, annotations := range []map[string]string{nil, {secretName: "shop-login", existingSecret: "vault"}} {
		var objects []client.Object
		suffix := strings.Repeat("-annotated", min(1, len(annotations)))
		for _, kind := range kinds {
			o := labelled(kind, "built"+suffix+"-"+strings.ToLower(kind), "shop")
			o.SetAnnotations(annotations)
			objects = append(objects, o)
		}
		built := layers{withExistingSecret}.build(t, objects...)
		for _, kind := range kinds {
			t.Run(kind+suffix, func(t *testing.T) {
				template := podTemplate("shop")
				template.Annotations = annotations
				injected := run(t, namespace, workload(kind, "injected"+suffix+"-"+strings.ToLower(kind), template))
				rendered := run(t, namespace, built[kind+" built"+suffix+"-"+strings.ToLower(kind)])

				require.Equal(t, sidecarName, injected.Spec.InitContainers[0].Name, "before those who want a token")
				require.Equal(t, rendered.Spec.InitContainers[0], injected.Spec.InitContainers[0])
				for _, name := range []string{credentials, tokenVolume} {
					require.Equal(t, volume(rendered.Spec, name), volume(injected.Spec, name))
				}
				require.Equal(t, rendered.Labels[label], injected.Labels[label])
				require.Len(t, injected.Spec.Volumes, len(rendered.Spec.Volumes))
				for _, c := range append(injected.Spec.InitContainers[1:], injected.Spec.Containers...) {
					require.Contains(t, c.VolumeMounts, corev1.VolumeMount{Name: tokenVolume, MountPath: tokenPath, ReadOnly: true}, c.Name)
				}
				require.Len(t, find(injected.Spec.Containers, "cache").VolumeMounts, 2, "its own stay")

				plain := run(t, namespace, workload(kind, "plain"+suffix+"-"+strings.ToLower(kind), podTemplate("")))
				requireUntouched(t, plain)
			})
		}
	}
}

// requireUntouched: a Pod has what podTemplate says and nothing beside.
func requireUntouched(t *testing.T, p *corev1.Pod) {
	t.Helper()
	require.Nil(t, find(p.Spec.InitContainers, sidecarName))
	require.Nil(t, volume(p.Spec, tokenVolume))
	require.Nil(t, volume(p.Spec, credentials))
	for _, c := range append(slices.Clone(p.Spec.InitContainers), p.Spec.Containers...) {
		for _, m := range c.VolumeMounts {
			require.Equal(t, "cache", m.Name)
		}
	}
}

// TestWhatIsThereStays: the policy adds what a Pod lacks and changes nothing.
func TestWhatIsThereStays(t *testing.T) {
	t.Parallel()
	install(t)
	namespace := plane.Namespace(t, nil)
	mount := func(volume, path string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: volume, MountPath: path, ReadOnly: true}}
		}
	}
	memory := corev1.Volume{Name: tokenVolume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}}
	with := func(v corev1.Volume) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.Volumes = append(p.Spec.Volumes, v) }
	}
	own := corev1.Container{Name: sidecarName, Image: "mine"}
	for name, row := range map[string]struct {
		change []func(*corev1.Pod)
		check  func(*testing.T, *corev1.Pod)
	}{
		"the volume, mounted elsewhere": {
			change: []func(*corev1.Pod){mount(tokenVolume, "/token"), with(memory)},
			check: func(t *testing.T, p *corev1.Pod) {
				require.Equal(t, []corev1.VolumeMount{{Name: tokenVolume, MountPath: "/token", ReadOnly: true}}, p.Spec.Containers[0].VolumeMounts)
				require.Len(t, p.Spec.Volumes, 3)
				require.Nil(t, volume(p.Spec, tokenVolume).EmptyDir.SizeLimit)
			},
		},
		"the volume, mounted before anybody declared it": {
			change: []func(*corev1.Pod){mount(tokenVolume, "/token")},
			check: func(t *testing.T, p *corev1.Pod) {
				require.Len(t, p.Spec.Containers[0].VolumeMounts, 1)
				require.NotNil(t, volume(p.Spec, tokenVolume).EmptyDir)
			},
		},
		"something else at that path": {
			change: []func(*corev1.Pod){mount("cache", tokenPath+"/")},
			check: func(t *testing.T, p *corev1.Pod) {
				require.Len(t, p.Spec.Containers[0].VolumeMounts, 1)
				require.Len(t, p.Spec.Containers[1].VolumeMounts, 2)
			},
		},
		"credentials of its own": {
			change: []func(*corev1.Pod){with(corev1.Volume{Name: credentials, VolumeSource: corev1.VolumeSource{
				Secret: &corev1.SecretVolumeSource{SecretName: "shop-credentials", Items: []corev1.KeyToPath{{Key: "id", Path: "client-id"}}},
			}})},
			check: func(t *testing.T, p *corev1.Pod) {
				require.Equal(t, "client-id", volume(p.Spec, credentials).Secret.Items[0].Path)
				require.NotNil(t, find(p.Spec.InitContainers, sidecarName))
			},
		},
		"a refresher of its own": {
			change: []func(*corev1.Pod){func(p *corev1.Pod) { p.Spec.InitContainers = append(p.Spec.InitContainers, own) }},
			check: func(t *testing.T, p *corev1.Pod) {
				require.Equal(t, "mine", find(p.Spec.InitContainers, sidecarName).Image)
				require.Len(t, p.Spec.InitContainers, 2)
				require.Len(t, p.Spec.Volumes, 1)
			},
		},
		"a refresher among the containers": {
			change: []func(*corev1.Pod){func(p *corev1.Pod) { p.Spec.Containers = append(p.Spec.Containers, own) }},
			check: func(t *testing.T, p *corev1.Pod) {
				require.Nil(t, find(p.Spec.InitContainers, sidecarName))
				require.Len(t, p.Spec.Volumes, 1)
			},
		},
		"neither init containers nor volumes": {
			change: []func(*corev1.Pod){func(p *corev1.Pod) {
				p.Spec.InitContainers, p.Spec.Volumes, p.Spec.Containers = nil, nil, p.Spec.Containers[:1]
			}},
			check: func(t *testing.T, p *corev1.Pod) {
				require.Len(t, p.Spec.InitContainers, 1)
				require.Len(t, p.Spec.Volumes, 2)
				require.Equal(t, []corev1.VolumeMount{{Name: tokenVolume, MountPath: tokenPath, ReadOnly: true}}, p.Spec.Containers[0].VolumeMounts)
			},
		},
		"a Pod that a kubelet shows": {
			change: []func(*corev1.Pod){annotated("kubernetes.io/config.mirror", "x"), func(p *corev1.Pod) { p.Spec.NodeName = "here" }},
			check:  requireUntouched,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			row.check(t, admit(t, require.New(t), pod(namespace, "shop", row.change...)))
		})
	}
}

// TestTheSecondTimeNothingIsAdded: a Pod that has been through the policy comes
// out as it went in.
func TestTheSecondTimeNothingIsAdded(t *testing.T) {
	t.Parallel()
	install(t)
	namespace := plane.Namespace(t, restricted)
	once := admit(t, require.New(t), pod(namespace, "shop"))
	again := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, GenerateName: "pod-", Labels: once.Labels, Annotations: once.Annotations,
	}, Spec: *once.Spec.DeepCopy()}
	require.Equal(t, once.Spec, admit(t, require.New(t), again).Spec)
}

// TestAppliedAgainAPodIsUnchanged: what the policy added is nobody's drift.
func TestAppliedAgainAPodIsUnchanged(t *testing.T) {
	t.Parallel()
	install(t)
	kubectl, namespace := plane.Kubectl(t), plane.Namespace(t, restricted)
	for _, flags := range [][]string{nil, {"--server-side"}} {
		p := pod(namespace, "shop")
		p.Name, p.GenerateName = "pod"+strings.Join(flags, ""), ""
		manifest := manifests(t, p)
		apply := append([]string{"apply", "-f", "-"}, flags...)
		require.Contains(t, kubectl.Run(t, manifest, append(apply, "--dry-run=server", "-o=jsonpath={.spec.initContainers[0].name}")...), sidecarName)
		kubectl.Run(t, manifest, apply...)
		require.NoError(t, plane.Client.Get(t.Context(), client.ObjectKeyFromObject(p), p))
		require.NotNil(t, find(p.Spec.InitContainers, sidecarName))
		version := p.ResourceVersion
		kubectl.Run(t, manifest, apply...)
		require.NoError(t, plane.Client.Get(t.Context(), client.ObjectKeyFromObject(p), p))
		require.Equal(t, version, p.ResourceVersion)
		require.Empty(t, kubectl.Run(t, manifest, append([]string{"diff", "-f", "-"}, flags...)...))
	}
}

// TestAPodThatRunsIsLeftAlone: containers cannot be added to it any more.
func TestAPodThatRunsIsLeftAlone(t *testing.T) {
	t.Parallel()
	install(t)
	namespace := plane.Namespace(t, nil)
	for _, name := range []string{"", "shop"} {
		p := pod(namespace, name)
		plane.Create(t, p)
		before := p.DeepCopy()
		metav1.SetMetaDataLabel(&p.ObjectMeta, label, "Not_A_Name")
		metav1.SetMetaDataAnnotation(&p.ObjectMeta, "connectedapps.dev/inject-memory-limit", "lots")
		require.NoError(t, plane.Client.Update(t.Context(), p))
		require.Equal(t, before.Spec, p.Spec)
	}
}

// TestNoNamespaceIsSpecial: with the label a Pod gets its refresher in each, and
// without it none is touched.
func TestNoNamespaceIsSpecial(t *testing.T) {
	t.Parallel()
	install(t)
	for _, namespace := range []string{"kube-system", testenv.SystemNamespace, "default"} {
		require.NotNil(t, find(admit(t, require.New(t), pod(namespace, "shop")).Spec.InitContainers, sidecarName))
		requireUntouched(t, admit(t, require.New(t), pod(namespace, "")))
	}
}

func TestAnnotationsChangeWhatIsAdded(t *testing.T) {
	t.Parallel()
	install(t)
	namespace := plane.Namespace(t, restricted)
	p := admit(t, require.New(t), pod(namespace, "shop",
		annotated(secretName, "shop-login"),
		annotated("connectedapps.dev/inject-token-url", "https://id.example.com/token"),
		annotated("connectedapps.dev/inject-mount-path", "/run/token"),
		annotated("connectedapps.dev/inject-cpu-request", "5m"),
		annotated("connectedapps.dev/inject-cpu-limit", "100m"),
		annotated("connectedapps.dev/inject-memory-request", "24Mi"),
		annotated("connectedapps.dev/inject-memory-limit", "64Mi"),
	))
	plain := admit(t, require.New(t), pod(namespace, "shop"))
	require.Equal(t, []string{"shop-login"}, secretsOf(t, p.Spec))
	sidecar, usual := p.Spec.InitContainers[0], plain.Spec.InitContainers[0]
	require.Equal(t, append(slices.Clone(usual.Args), "--token-url=https://id.example.com/token"), sidecar.Args)
	require.Equal(t, usual.VolumeMounts, sidecar.VolumeMounts, "the path is the application's")
	for _, c := range append(p.Spec.InitContainers[1:], p.Spec.Containers...) {
		require.Contains(t, c.VolumeMounts, corev1.VolumeMount{Name: tokenVolume, MountPath: "/run/token", ReadOnly: true})
	}
	list := func(l corev1.ResourceList) string { return l.Cpu().String() + " " + l.Memory().String() }
	require.Equal(t, "1m 16Mi", list(usual.Resources.Requests))
	require.Equal(t, "0 32Mi", list(usual.Resources.Limits))
	require.Equal(t, "5m 24Mi", list(sidecar.Resources.Requests))
	require.Equal(t, "100m 64Mi", list(sidecar.Resources.Limits))
}

// TestRefusalsSayWhatIsRight: each names the key, the value and what to write.
func TestRefusalsSayWhatIsRight(t *testing.T) {
	t.Parallel()
	install(t)
	namespace := plane.Namespace(t, nil)
	const prefix = "connectedapps.dev/inject-"
	asked := func(app string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Labels[label] = app } }
	withVolume := func(name string, source corev1.VolumeSource) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: source})
		}
	}
	for name, row := range map[string]struct {
		change func(*corev1.Pod)
		says   string // empty: it is admitted
	}{
		"no app":                      {asked(""), `label connectedapps.dev/inject: "" is not the name of a ConnectedApp: write the name of one in namespace ` + namespace},
		"no name":                     {asked("Shop_1"), `label connectedapps.dev/inject: "Shop_1" is not the name of a ConnectedApp`},
		"an unknown key":              {annotated(prefix+"mountpath", "/a"), `annotation connectedapps.dev/inject-mountpath means nothing here: write one of connectedapps.dev/inject-secret, connectedapps.dev/inject-token-url, `},
		"a Secret":                    {annotated(secretName, "Shop"), `annotation connectedapps.dev/inject-secret: "Shop" is not the name of a Secret: write the name of one in namespace ` + namespace},
		"an existing Secret":          {annotated(existingSecret, ""), `annotation connectedapps.dev/existing-secret: "" is not the name of a Secret`},
		"a URL without scheme":        {annotated(prefix+"token-url", "id.example.com/token"), `annotation connectedapps.dev/inject-token-url: "id.example.com/token" is not an https URL without user information and fragment (http is for loopback): write that of a token endpoint, such as https://id.example.com/token`},
		"a URL of a file":             {annotated(prefix+"token-url", "file:///etc/passwd"), `"file:///etc/passwd" is not an https URL`},
		"a URL without host":          {annotated(prefix+"token-url", "https:///token"), `"https:///token" is not an https URL`},
		"a URL that is not encrypted": {annotated(prefix+"token-url", "http://id:8080/token"), `"http://id:8080/token" is not an https URL`},
		"a URL with a password":       {annotated(prefix+"token-url", "https://id:pw@id.example.com/token"), `"https://id:pw@id.example.com/token" is not an https URL`},
		"a URL with a fragment":       {annotated(prefix+"token-url", "https://id.example.com/token#x"), `"https://id.example.com/token#x" is not an https URL`},
		"a URL":                       {annotated(prefix+"token-url", "https://id.example.com:8443/token?tenant=a@b"), ""},
		"a URL of this Pod":           {annotated(prefix+"token-url", "http://localhost:8080/token"), ""},
		"a URL of this Pod by IPv6":   {annotated(prefix+"token-url", "http://[::1]:8080/token"), ""},
		"an endless path":             {annotated(prefix+"mount-path", "/"+strings.Repeat("a/", 100_000)), `annotation connectedapps.dev/inject-mount-path`},
		"a path with a line break":    {annotated(prefix+"mount-path", "/a\nb"), `annotation connectedapps.dev/inject-mount-path`},
		"an endless name":             {annotated(secretName, strings.Repeat("A", 100_000)), `annotation connectedapps.dev/inject-secret: "AAA`},
		"a Windows Pod":               {onWindows, `label connectedapps.dev/inject: the refresher runs on Linux, and this Pod on Windows: remove the label`},
		"a node with Windows": {func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"kubernetes.io/os": "windows"} },
			`the refresher runs on Linux`},
		"a large Pod":         {large, ""},
		"a relative path":     {annotated(prefix+"mount-path", "token"), `annotation connectedapps.dev/inject-mount-path: "token" is not an absolute path: write one without a colon, "..", or "/" at its end, such as /var/run/connectedapps/token`},
		"no path":             {annotated(prefix+"mount-path", ""), `annotation connectedapps.dev/inject-mount-path: "" is not`},
		"the root":            {annotated(prefix+"mount-path", "/"), `annotation connectedapps.dev/inject-mount-path: "/" is not`},
		"a path up":           {annotated(prefix+"mount-path", "/run/../token"), `annotation connectedapps.dev/inject-mount-path: "/run/../token" is not`},
		"a path with dots":    {annotated(prefix+"mount-path", "/run/..token/.x"), ""},
		"no quantity":         {annotated(prefix+"cpu-limit", "some"), `annotation connectedapps.dev/inject-cpu-limit: "some" is not a quantity above zero: write one such as 10m`},
		"a negative quantity": {annotated(prefix+"memory-request", "-16Mi"), `annotation connectedapps.dev/inject-memory-request: "-16Mi" is not a quantity above zero: write one such as 32Mi`},
		"more than the limit": {annotated(prefix+"memory-request", "48Mi"), `annotation connectedapps.dev/inject-memory-request: 48Mi is above the limit of 32Mi: ask for less, or raise it by connectedapps.dev/inject-memory-limit`},
		"a limit in bytes":    {annotated(prefix+"memory-limit", "32"), `annotation connectedapps.dev/inject-memory-limit: 32 is less than the refresher needs: write 16Mi or more`},
		"the lowest limit":    {annotated(prefix+"memory-limit", "16Mi"), ""},
		"a volume on a disk": {withVolume(tokenVolume, corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}),
			`volume connectedapps-token is not in memory, and tokens are written to no disk: write emptyDir: {medium: Memory}, or leave the volume out`},
		"the refresher's port": {func(p *corev1.Pod) { p.Spec.Containers[1].Ports = []corev1.ContainerPort{{ContainerPort: 8090}} },
			`container cache has a port that the refresher needs for its probes`},
		"a port of its own": {func(p *corev1.Pod) {
			p.Spec.Containers[1].Ports = []corev1.ContainerPort{{Name: "refresher", ContainerPort: 8091}}
		}, ""},
		"another app's Secret": {withVolume(credentials, corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "billing-credentials"}}),
			`volume connectedapps-credentials takes the Secret billing-credentials, and the label connectedapps.dev/inject: shop asks for shop-credentials`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := plane.Client.Create(t.Context(), pod(namespace, "shop", row.change), client.DryRunAll)
			if row.says == "" {
				require.NoError(t, err)
				return
			}
			require.True(t, apierrors.IsInvalid(err), "%v", err)
			require.ErrorContains(t, err, row.says)
			requireUntouched(t, admit(t, require.New(t), pod(namespace, "none", row.change, func(p *corev1.Pod) {
				delete(p.Labels, label)
				p.Spec.Volumes = p.Spec.Volumes[:1]
			})))
		})
	}
}

// onWindows is a Pod that may have no part that is Linux's.
func onWindows(p *corev1.Pod) {
	p.Spec.OS, p.Spec.SecurityContext = &corev1.PodOS{Name: corev1.Windows}, nil
	for _, containers := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range containers {
			containers[i].SecurityContext = nil
		}
	}
}

// large is a Pod that costs the policies much.
func large(p *corev1.Pod) {
	for i := range 60 {
		c := corev1.Container{Name: "c" + strings.Repeat("c", i), Image: "x"}
		for j := range 60 {
			path := "/a/long/path/of/a/mount/in/a/large/pod/" + strings.Repeat("x", j)
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "cache", MountPath: path})
		}
		p.Spec.Containers = append(p.Spec.Containers, c)
	}
}

// TestOnTheNetworkOfItsNodeThePortIsTheNodes: the scheduler keeps two such Pods
// apart, and Pod Security sees what the Pod takes.
func TestOnTheNetworkOfItsNodeThePortIsTheNodes(t *testing.T) {
	t.Parallel()
	install(t)
	p := admit(t, require.New(t), pod(plane.Namespace(t, nil), "shop", func(p *corev1.Pod) { p.Spec.HostNetwork = true }))
	require.EqualValues(t, 8090, p.Spec.InitContainers[0].Ports[0].HostPort)
}

// TestAnAppThatKustomizeRenamedKeepsItsSecretFromOthers: kustomize did not know
// that the Secret is the app's, so that the Pod would have another app's.
func TestAnAppThatKustomizeRenamedKeepsItsSecretFromOthers(t *testing.T) {
	t.Parallel()
	install(t)
	namespace := plane.Namespace(t, nil)
	for _, kind := range kinds {
		built := layers{withRefresher + "namePrefix: dev-\n"}.build(t, labelled(kind, "web", "shop"), app("shop", ""))
		template := templateOf(t, built[kind+" dev-web"])
		err := plane.Client.Create(t.Context(), &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "pod", Labels: template.Labels}, Spec: template.Spec,
		}, client.DryRunAll)
		require.ErrorContains(t, err, "volume connectedapps-credentials takes the Secret shop-credentials, and the label connectedapps.dev/inject: dev-shop asks for dev-shop-credentials")
		require.ErrorContains(t, err, "docs/gitops.md")
	}
}

// The following change what is installed, and so do not run beside others.

func parameters(t *testing.T) *corev1.ConfigMap {
	t.Helper()
	c := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: testenv.SystemNamespace, Name: "connectedapps-injection"}}
	require.NoError(t, plane.Client.Get(t.Context(), client.ObjectKeyFromObject(c), c))
	return c
}

// changing runs a test that changes the policy, and installs it again.
func changing(t *testing.T, test func(*testing.T)) {
	t.Helper()
	install(t)
	t.Run("changed", test)
	plane.Kubectl(t).Run(t, "", "apply", "--server-side", "--force-conflicts", "-k", config("injection"))
	bites(t)
}

func TestInstalledAgainItIsUnchanged(t *testing.T) {
	install(t)
	require.Empty(t, plane.Kubectl(t).Run(t, "", "diff", "--server-side", "-k", config("injection")))
}

func TestTheParametersGiveImageAndAudience(t *testing.T) {
	changing(t, func(t *testing.T) {
		p := parameters(t)
		require.Equal(t, map[string]string{"image": "connectedapps/refresher:dev", "audience": ""}, p.Data)
		p.Data = map[string]string{"image": "registry.example.com/refresher:v1", "audience": "https://id.example.com"}
		rendered := layers{withRefresher + onThePage(t, "# kustomization.yaml, for apps without a secret\n")}.build(t, labelled("Deployment", "web", "shop"))
		require.NoError(t, plane.Client.Update(t.Context(), p))
		testenv.Eventually(t, func(c *require.Assertions) {
			spec := admit(t, c, pod("default", "shop", func(p *corev1.Pod) { p.Spec.ServiceAccountName = "shop" })).Spec
			c.Equal("registry.example.com/refresher:v1", spec.InitContainers[0].Image)
			sources := volume(spec, credentials).Projected.Sources
			c.Equal([]corev1.VolumeProjection{
				{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "shop-credentials"}, Optional: new(true)}},
				{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "shop-credentials"}, Optional: new(true)}},
				{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
					Audience: "https://id.example.com", ExpirationSeconds: new(int64(3600)), Path: "service-account-token",
				}},
			}, sources)
			c.Equal(sources, volume(templateOf(t, rendered["Deployment web"]).Spec, credentials).Projected.Sources, "as the page has it for the component")
		})
	})
}

func TestWithoutParametersOnlyPodsThatAskAreRefused(t *testing.T) {
	changing(t, func(t *testing.T) {
		require.NoError(t, plane.Client.Delete(t.Context(), parameters(t)))
		testenv.Eventually(t, func(c *require.Assertions) {
			c.ErrorContains(plane.Client.Create(t.Context(), pod("default", "shop"), client.DryRunAll), "connectedapps-injection")
		})
		requireUntouched(t, admit(t, require.New(t), pod("default", "")))
	})
}

// TestWhereNothingInjectsAPodIsToldSo: it would wait for its token for ever.
func TestWhereNothingInjectsAPodIsToldSo(t *testing.T) {
	changing(t, func(t *testing.T) {
		plane.Kubectl(t).Run(t, "", "delete", "mutatingadmissionpolicybinding", "connectedapps-injection")
		testenv.Eventually(t, func(c *require.Assertions) {
			c.ErrorContains(plane.Client.Create(t.Context(), pod("default", "shop"), client.DryRunAll),
				"label connectedapps.dev/inject: nothing in this cluster adds the refresher to a Pod: install config/injection (Kubernetes 1.36 and later), or build the workload with the kustomize component config/components/refresher")
		})
		built := templateOf(t, layers{withRefresher}.build(t, labelled("Deployment", "web", "shop"))["Deployment web"])
		require.NotNil(t, find(admit(t, require.New(t), &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "pod", Labels: built.Labels}, Spec: built.Spec,
		}).Spec.InitContainers, sidecarName), "the component needs no policy")
	})
}

// TestTheImageIsTheKustomizationsHereToo: it is a parameter of the policy.
func TestTheImageIsTheKustomizationsHereToo(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(folder, "injection"), os.DirFS(config("injection"))))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(
		"resources: [injection]\nimages: [{name: connectedapps/refresher, newName: registry.example.com/refresher, newTag: v1}]\n"), 0o600))
	require.Contains(t, plane.Kubectl(t).Run(t, "", "kustomize", folder), "\n  image: registry.example.com/refresher:v1\n")
}

// TestThePageTellsOfEveryAnnotation that there is, and of no other.
func TestThePageTellsOfEveryAnnotation(t *testing.T) {
	t.Parallel()
	install(t)
	err := plane.Client.Create(t.Context(), pod("default", "shop", annotated(label+"-none", "")), client.DryRunAll)
	require.ErrorContains(t, err, "means nothing here: write one of ")
	_, list, _ := strings.Cut(err.Error(), "write one of ")
	page, err := os.ReadFile(filepath.Join(root, "docs", "token-delivery.md"))
	require.NoError(t, err)
	var rows []string
	for row := range strings.Lines(string(page)) {
		if strings.HasPrefix(row, "| `"+label+"-") {
			rows = append(rows, regexp.MustCompile("`("+label+"-[a-z-]+)`").FindAllString(row, -1)...)
		}
	}
	var told []string
	for _, row := range rows {
		told = append(told, strings.Trim(row, "`"))
	}
	require.ElementsMatch(t, strings.Split(list, ", "), told)
}

// TestThePodWithAPrivateKeyOnThePageGetsIt: the key is beside the credentials, and
// the application does not see it.
func TestThePodWithAPrivateKeyOnThePageGetsIt(t *testing.T) {
	t.Parallel()
	install(t)
	var deployment appsv1.Deployment
	require.NoError(t, yaml.UnmarshalStrict([]byte(onThePage(t, "# deployment.yaml, with a private key\n")), &deployment))
	template := deployment.Spec.Template
	p := admit(t, require.New(t), pod("default", "", func(p *corev1.Pod) {
		p.Labels, p.Annotations = template.Labels, template.Annotations
		p.Spec.Volumes = append(p.Spec.Volumes, template.Spec.Volumes...)
	}))
	require.Equal(t, []string{"reports-credentials", "reports-key"}, secretsOf(t, p.Spec))
	mounted := func(c *corev1.Container) (names []string) {
		for _, m := range c.VolumeMounts {
			names = append(names, m.Name)
		}
		return names
	}
	require.Contains(t, mounted(find(p.Spec.InitContainers, sidecarName)), credentials)
	require.NotContains(t, mounted(find(p.Spec.Containers, "web")), credentials)
	require.Contains(t, mounted(find(p.Spec.Containers, "web")), tokenVolume)
}
