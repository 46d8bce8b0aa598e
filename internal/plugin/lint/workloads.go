// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"connectedapps.dev/operator/api/v1alpha1"
)

// podSpecs are where kinds have the spec of their Pods.
var podSpecs = map[string][]string{
	"/Pod":             {"spec"},
	"apps/Deployment":  {"spec", "template", "spec"},
	"apps/StatefulSet": {"spec", "template", "spec"},
	"apps/DaemonSet":   {"spec", "template", "spec"},
	"batch/Job":        {"spec", "template", "spec"},
	"batch/CronJob":    {"spec", "jobTemplate", "spec", "template", "spec"},
}

// source is the object whose Secret a Pod reads.
type source struct {
	kind, name string
	// restarts is its field for workloads to roll out, and restarted are those.
	restarts  string
	restarted []v1alpha1.WorkloadReference
}

// sources are the objects of a namespace by their Secrets.
func (in *inputs) sources(namespace string) map[string]source {
	found := map[string]source{}
	for _, app := range in.apps {
		if app.meta.Namespace != namespace || app.refused {
			continue
		}
		s := source{"ConnectedApp", app.meta.Name, "spec.credentials.secret.restart", app.value.Restarts()}
		if t := app.value.CredentialsType(); t.HasClientSecret() {
			found[app.value.PublishedSecretName()], found[app.value.CredentialsSecretName()] = s, s
		}
	}
	for _, token := range in.tokens {
		if token.meta.Namespace == namespace && !token.refused {
			found[token.value.SecretName()] = source{"AccessToken", token.meta.Name, "spec.restart", token.value.Spec.Restart}
		}
	}
	return found
}

// checkWorkloads finds Pods to which a rotated value never gets.
func (in *inputs) checkWorkloads() {
	for _, o := range in.workloads {
		content, found, err := unstructured.NestedMap(o.object, o.pod...)
		if err != nil || !found {
			continue
		}
		pod := &reader{in: in, object: o, sources: in.sources(o.meta.Namespace)}
		// What is wrong with a Pod is not for us to say.
		if runtime.DefaultUnstructuredConverter.FromUnstructured(content, &pod.spec) == nil {
			pod.check(strings.Join(o.pod, "."))
		}
	}
}

// reader is a workload that may read Secrets of ours.
type reader struct {
	in      *inputs
	object  *object
	spec    corev1.PodSpec
	sources map[string]source
}

func (r *reader) check(path string) {
	for i := range r.spec.InitContainers {
		r.container(fmt.Sprintf("%s.initContainers[%d]", path, i), &r.spec.InitContainers[i])
	}
	for i := range r.spec.Containers {
		r.container(fmt.Sprintf("%s.containers[%d]", path, i), &r.spec.Containers[i])
	}
}

func (r *reader) container(path string, c *corev1.Container) {
	for i, from := range c.EnvFrom {
		if from.SecretRef != nil {
			r.found(RuleSecretInEnv, fmt.Sprintf("%s.envFrom[%d].secretRef", path, i), from.SecretRef.Name,
				"an environment variable has the value that the Secret had when the container started")
		}
	}
	for i, env := range c.Env {
		if env.ValueFrom != nil && env.ValueFrom.SecretKeyRef != nil {
			r.found(RuleSecretInEnv, fmt.Sprintf("%s.env[%d].valueFrom.secretKeyRef", path, i), env.ValueFrom.SecretKeyRef.Name,
				"an environment variable has the value that the Secret had when the container started")
		}
	}
	for i, mount := range c.VolumeMounts {
		if mount.SubPath == "" && mount.SubPathExpr == "" {
			continue
		}
		for _, secret := range r.secretsOf(mount.Name) {
			r.found(RuleSecretSubPath, fmt.Sprintf("%s.volumeMounts[%d].subPath", path, i), secret,
				"a file that is mounted by subPath stays as it was when the container started")
		}
	}
}

// secretsOf are the Secrets in a volume.
func (r *reader) secretsOf(volume string) []string {
	var names []string
	for _, v := range r.spec.Volumes {
		switch {
		case v.Name != volume:
		case v.Secret != nil:
			names = append(names, v.Secret.SecretName)
		case v.Projected != nil:
			for _, s := range v.Projected.Sources {
				if s.Secret != nil {
					names = append(names, s.Secret.Name)
				}
			}
		}
	}
	return names
}

// found reports that a Secret of ours is read at a field, unless its manager
// rolls the workload out.
func (r *reader) found(rule, field, secret, why string) {
	s, ok := r.sources[secret]
	if !ok {
		return
	}
	workload := v1alpha1.WorkloadReference{Kind: v1alpha1.WorkloadKind(r.object.kind), Name: r.object.meta.Name}
	if slices.Contains(s.restarted, workload) {
		return
	}
	instead := "mount the Secret as a folder, without subPath, and read its files at each use"
	switch workload.Kind {
	case v1alpha1.WorkloadDeployment, v1alpha1.WorkloadStatefulSet, v1alpha1.WorkloadDaemonSet:
		instead += fmt.Sprintf(", or have it rolled out by %s of %s %s", s.restarts, s.kind, s.name)
	}
	r.in.add(r.object, Warning, rule, field, fmt.Sprintf("reads Secret %s of %s %s, and never gets a value that replaces the one there: %s; %s",
		secret, s.kind, s.name, why, instead))
}
