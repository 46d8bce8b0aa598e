// SPDX-License-Identifier: Apache-2.0

package start

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/testenv/program"
)

// podsOf are the Pods that Deployments have made of a template with a label.
func podsOf(t *testing.T, namespace, label string) []corev1.Pod {
	t.Helper()
	key, value, _ := strings.Cut(label, "=")
	var list corev1.PodList
	require.NoError(t, api.List(t.Context(), &list, client.InNamespace(namespace), client.MatchingLabels{key: value}))
	return list.Items
}

// podOf waits for a Pod, and for one with a volume when that is said.
func podOf(t *testing.T, namespace, label string, volume ...string) *corev1.Pod {
	t.Helper()
	var found *corev1.Pod
	testenv.Eventually(t, func(c *require.Assertions) {
		for _, pod := range podsOf(t, namespace, label) {
			if len(volume) == 0 || slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == volume[0] }) {
				found = &pod
			}
		}
		c.NotNil(found, "no Pod %s", label)
	})
	return found
}

// markReady says of Pods what the kubelet says once their containers are.
func markReady(t *testing.T, namespace, label string) {
	t.Helper()
	podOf(t, namespace, label)
	for _, pod := range podsOf(t, namespace, label) {
		pod.Status.Phase = corev1.PodRunning
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}}
		require.NoError(t, api.Status().Update(t.Context(), &pod))
	}
}

// mountSecret puts a Secret where a Pod has it, and brings it up to date.
func mountSecret(t *testing.T, namespace, name, folder string) {
	t.Helper()
	secret := &corev1.Secret{}
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(api.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, secret))
	})
	for key, value := range secret.Data {
		place(t, folder, key, value)
	}
}

// place replaces a file, which nobody sees half.
func place(t *testing.T, folder, name string, content []byte) {
	t.Helper()
	require.NoError(t, os.MkdirAll(folder, 0o700))
	beside := filepath.Join(folder, "."+name)
	require.NoError(t, os.WriteFile(beside, content, 0o600))
	require.NoError(t, os.Rename(beside, filepath.Join(folder, name)))
}

// running is a Pod whose volumes are folders and whose containers are processes.
type running struct {
	*testing.T
	pod     *corev1.Pod
	volumes map[string]string
}

// admit makes the volumes of a Pod.
func admit(t *testing.T, pod *corev1.Pod) *running {
	t.Helper()
	p := &running{T: t, pod: pod, volumes: map[string]string{}}
	for _, v := range pod.Spec.Volumes {
		p.volumes[v.Name] = t.TempDir()
	}
	p.sync()
	return p
}

// sync brings the volumes up to date.
func (p *running) sync() {
	p.Helper()
	for _, v := range p.pod.Spec.Volumes {
		folder := p.volumes[v.Name]
		switch {
		case v.Secret != nil:
			mountSecret(p.T, p.pod.Namespace, v.Secret.SecretName, folder)
		case v.ConfigMap != nil:
			object := &corev1.ConfigMap{}
			require.NoError(p, api.Get(p.Context(), client.ObjectKey{Namespace: p.pod.Namespace, Name: v.ConfigMap.Name}, object))
			for key, value := range object.Data {
				place(p.T, folder, key, []byte(p.inPod(value)))
			}
		case v.Projected != nil:
			for _, source := range v.Projected.Sources {
				if source.Secret != nil && (source.Secret.Optional == nil || !*source.Secret.Optional || p.exists(source.Secret.Name)) {
					mountSecret(p.T, p.pod.Namespace, source.Secret.Name, folder)
				}
			}
		}
	}
}

func (p *running) exists(secret string) bool {
	return api.Get(p.Context(), client.ObjectKey{Namespace: p.pod.Namespace, Name: secret}, &corev1.Secret{}) == nil
}

// paths are pairs of what a path is in the Pod and on this machine.
func (p *running) paths() []string {
	var pairs []string
	for _, c := range append(p.pod.Spec.InitContainers[:len(p.pod.Spec.InitContainers):len(p.pod.Spec.InitContainers)], p.pod.Spec.Containers...) {
		for _, m := range c.VolumeMounts {
			pairs = append(pairs, m.MountPath, p.volumes[m.Name])
		}
	}
	return pairs
}

func (p *running) inPod(text string) string { return strings.NewReplacer(p.paths()...).Replace(text) }

// container is one of the Pod by its name.
func (p *running) container(name string) *corev1.Container {
	p.Helper()
	for _, list := range [][]corev1.Container{p.pod.Spec.InitContainers, p.pod.Spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	require.Fail(p, "no container "+name)
	return nil
}

// start starts a program with the arguments and the environment of a container. Paths
// in them, and what else is given as pairs, are replaced.
func (p *running) start(name string, command *exec.Cmd, pairs ...string) *program.Process {
	p.Helper()
	c := p.container(name)
	pairs = append(pairs, p.paths()...)
	here := strings.NewReplacer(pairs...)
	for _, argument := range c.Args {
		command.Args = append(command.Args, here.Replace(argument))
	}
	command.Env = append(command.Env, "PATH="+os.Getenv("PATH"))
	for _, v := range c.Env {
		value := v.Value
		switch from := v.ValueFrom; {
		case from == nil:
		case from.SecretKeyRef != nil:
			secret := &corev1.Secret{}
			require.NoError(p, api.Get(p.Context(), client.ObjectKey{Namespace: p.pod.Namespace, Name: from.SecretKeyRef.Name}, secret))
			require.Contains(p, secret.Data, from.SecretKeyRef.Key)
			value = string(secret.Data[from.SecretKeyRef.Key])
		default:
			require.Equal(p, "limits.memory", from.ResourceFieldRef.Resource)
			value = strconv.FormatInt(c.Resources.Limits.Memory().Value()/from.ResourceFieldRef.Divisor.Value(), 10)
		}
		value = strings.NewReplacer(pairs...).Replace(value)
		pairs = append(pairs, "$("+v.Name+")", value)
		command.Env = append(command.Env, v.Name+"="+value)
	}
	return program.StartCommand(p, command)
}
