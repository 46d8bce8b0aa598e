// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/apply"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/plan"
)

// podsPage is the number of Pods that are asked for at a time.
const podsPage = 500

// asksForSecrets tells whether what the server knows of the client secrets is
// needed: one is to be replaced, or may not be needed any more. The latter is
// looked at when it can first be known, and then at each comparison.
func (r *Reconciler) asksForSecrets(p *pass) bool {
	if plan.RotationDue(p.in) {
		return true
	}
	since, looked := plan.RetirementDue(p.in), r.registered.lastCompared(p.app, p.connection.Inventory)
	return !since.IsZero() && (looked.Before(since) || p.in.Now.Sub(looked) >= r.ResyncInterval*3/4)
}

// observeRotation collects what is needed only when a client secret is to be
// replaced or retired. What cannot be found out is in the way of neither's being
// left as it is.
func (r *Reconciler) observeRotation(ctx context.Context, p *pass) error {
	if p.in.Live == nil || p.in.Live.Client == nil {
		return nil
	}
	if plan.RotationDue(p.in) {
		// A Secret from an older cache would be replaced once more.
		secret, err := r.objectsOf(p.published()).GetLive(ctx, p.app, p.in.Secret.Name)
		if err != nil && !errors.Is(err, apply.ErrNotOurs) {
			return err
		}
		p.secret = secret
		r.lookInto(p)
	}
	if plan.AsksForHolders(p.in) {
		p.in.Holders = r.holders(ctx, p.app.Namespace)
	}
	return nil
}

// holders lists the Pods of a namespace that hold values of Secrets.
func (r *Reconciler) holders(ctx context.Context, namespace string) *plan.Holders {
	found := &plan.Holders{}
	for token := ""; ; {
		var page corev1.PodList
		err := r.Live.List(ctx, &page, client.InNamespace(namespace), client.Limit(podsPage), client.Continue(token))
		if err != nil {
			log.FromContext(ctx).Info("Pods cannot be listed: client secrets that were replaced stay until their overlap ends", "cause", err.Error())
			return &plan.Holders{Unknown: true}
		}
		for i := range page.Items {
			found.Pods = append(found.Pods, heldBy(&page.Items[i])...)
		}
		if token = page.Continue; token == "" {
			return found
		}
	}
}

// heldBy are the Secrets of which a Pod keeps what they held when it started: as
// environment variables, and as files that are mounted singly. One that has ended
// keeps nothing.
func heldBy(pod *corev1.Pod) []plan.Holder {
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return nil
	}
	names := map[string]bool{}
	for _, c := range containers(pod) {
		for _, from := range c.EnvFrom {
			if from.SecretRef != nil {
				names[from.SecretRef.Name] = true
			}
		}
		for _, env := range c.Env {
			if env.ValueFrom != nil && env.ValueFrom.SecretKeyRef != nil {
				names[env.ValueFrom.SecretKeyRef.Name] = true
			}
		}
		for _, mount := range c.VolumeMounts {
			if mount.SubPath != "" || mount.SubPathExpr != "" {
				addVolume(names, pod, mount.Name)
			}
		}
	}
	var list []plan.Holder
	for name := range names {
		list = append(list, plan.Holder{Pod: pod.Name, Secret: name, Since: pod.CreationTimestamp.Time})
	}
	return list
}

// containers are all kinds of containers of a Pod.
func containers(pod *corev1.Pod) []corev1.Container {
	all := slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers)
	for _, c := range pod.Spec.EphemeralContainers {
		all = append(all, corev1.Container(c.EphemeralContainerCommon))
	}
	return all
}

// addVolume adds the Secrets of a volume.
func addVolume(names map[string]bool, pod *corev1.Pod, volume string) {
	for _, v := range pod.Spec.Volumes {
		switch {
		case v.Name != volume:
		case v.Secret != nil:
			names[v.Secret.SecretName] = true
		case v.Projected != nil:
			for _, source := range v.Projected.Sources {
				if source.Secret != nil {
					names[source.Secret.Name] = true
				}
			}
		}
	}
}

// noteRotation compares the list of client secrets with the one before, to tell
// people what became of them.
func (p *pass) noteRotation(before []v1alpha1.ClientSecretStatus) {
	has := func(list []v1alpha1.ClientSecretStatus, id string) bool {
		return slices.ContainsFunc(list, func(s v1alpha1.ClientSecretStatus) bool { return s.ID == id })
	}
	now := p.app.Status.Secrets
	isNew := len(now) > 0 && !has(before, now[len(now)-1].ID)
	for _, s := range before {
		switch {
		case s.ReplacedAt == nil && isNew:
			p.rotated = s.ID
		case s.ReplacedAt != nil && !has(now, s.ID):
			p.retired = append(p.retired, s.ID)
		}
	}
}

// sayRotating keeps the condition Rotating.
func (p *pass) sayRotating() {
	says, isFalse, known := plan.Rotating(p.in)
	shown := status.Get(p.app, v1alpha1.ConditionRotating)
	switch {
	case says == nil && (known || shown != nil && shown.Status == metav1.ConditionTrue):
		status.Remove(p.app, v1alpha1.ConditionRotating)
	case says == nil:
	case isFalse:
		if known {
			status.False(p.app, v1alpha1.ConditionRotating, says.Reason, says.Message)
		}
	case known || shown == nil || shown.Status != metav1.ConditionTrue || len(p.retired) > 0:
		status.True(p.app, v1alpha1.ConditionRotating, says.Reason, says.Message)
	}
}

// reportRotation tells of a client secret that was replaced, and of those that
// came to their end. A Secret that is repaired is told of elsewhere.
func (r *Reconciler) reportRotation(p *pass) {
	list := p.app.Status.Secrets
	if p.rotated != "" && !p.result.Repairs && len(list) > 0 {
		r.event(p.app, corev1.EventTypeNormal, eventRotated, actionReconcile, "%s", rotatedText(list, p.rotated, p.in.Secret.Name))
	}
	if len(p.retired) > 0 {
		r.event(p.app, corev1.EventTypeNormal, eventSecretRetired, actionReconcile,
			"not accepted by the token server any more, since replaced: client secret %s", strings.Join(p.retired, ", "))
	}
}

func rotatedText(list []v1alpha1.ClientSecretStatus, old, name string) string {
	text := fmt.Sprintf("secret %s holds client secret %s in place of %s", name, list[len(list)-1].ID, old)
	i := slices.IndexFunc(list, func(s v1alpha1.ClientSecretStatus) bool { return s.ID == old })
	switch {
	case i < 0:
		return text + ", which is not accepted any more: restart what does not read the Secret again"
	case list[i].ExpiresAt == nil:
		return text
	}
	return text + ", which is accepted until " + list[i].ExpiresAt.UTC().Format(time.RFC3339) + " at the longest"
}

// sooner lets a pass come back when a client secret is next to be looked at.
func (r *Reconciler) sooner(p *pass, result ctrl.Result, err error) (ctrl.Result, error) {
	if err != nil || !p.app.DeletionTimestamp.IsZero() {
		return result, err
	}
	if p.restartAfter > 0 {
		result.RequeueAfter = min(result.RequeueAfter, p.restartAfter)
	}
	if next := plan.NextLook(p.app, r.now()); next > 0 {
		result.RequeueAfter = min(result.RequeueAfter, next+time.Second) // a status counts whole seconds
	}
	if len(p.retired) > 0 && plan.RotationDue(p.in) { // it may have waited for one of them to end
		result.RequeueAfter = min(result.RequeueAfter, time.Second)
	}
	return result, nil
}
