// SPDX-License-Identifier: Apache-2.0

package accesstoken

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/rollout"
	"connectedapps.dev/operator/internal/controller/status"
)

// restart rolls out the workloads of spec.restart when the token is another than
// theirs. It comes after all that is done for the token, which it neither delays nor
// fails, and of a Secret that is not as it was written it says nothing.
func (r *Reconciler) restart(ctx context.Context, p *pass) {
	list := p.token.Spec.Restart
	if len(list) == 0 {
		status.Remove(p.token, v1alpha1.ConditionWorkloadsCurrent)
		return
	}
	if p.token.Suspended() || p.queued || p.held == nil {
		return
	}
	p.leave()
	restarter := &rollout.Restarter{Client: r.Client, Live: r.Live}
	seen := rollout.Content{Name: rollout.TokenName(p.token.Name), Digest: digest(p.secret), Replaced: p.replaced}
	outcome := restarter.Restart(ctx, p.token.Namespace, list, seen, p.now)
	p.restartAfter = outcome.After
	if outcome.Failure != nil {
		log.FromContext(ctx).Error(outcome.Failure, "workloads are not restarted, trying again")
	}
	if len(outcome.Restarted) > 0 {
		r.event(p.token, corev1.EventTypeNormal, eventWorkloadRestarted, actionRestart,
			"rolled out, since Secret %s holds another token: %s", p.token.SecretName(), strings.Join(outcome.Restarted, ", "))
	}
	if outcome.Show(p.token) {
		trouble := status.Get(p.token, v1alpha1.ConditionWorkloadsCurrent)
		r.event(p.token, corev1.EventTypeWarning, trouble.Reason, actionRestart, "%s", trouble.Message)
	}
}

// digest is that of the token in a Secret, without what others put there.
func digest(secret *corev1.Secret) string {
	data := map[string][]byte{}
	for _, key := range tokenKeys {
		if value, ok := secret.Data[key]; ok {
			data[key] = value
		}
	}
	return rollout.Digest(data)
}
