// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"bytes"
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/rollout"
	"connectedapps.dev/operator/internal/controller/status"
)

// restart rolls out the workloads that the spec names when what is published is
// something else than theirs. It comes after all that is done for the app, which it
// neither delays nor fails.
func (r *Reconciler) restart(ctx context.Context, p *pass) {
	list := p.app.Restarts()
	switch {
	case len(list) == 0:
		status.Remove(p.app, v1alpha1.ConditionWorkloadsCurrent)
		return
	case !p.app.DeletionTimestamp.IsZero(), p.app.Suspended(), p.secret == nil:
		return
	}
	p.leave()
	restarter := &rollout.Restarter{Client: r.Client, Live: r.Live}
	seen := rollout.Content{Name: rollout.AppName(p.app.Name), Digest: r.publishedDigest(p), Replaced: p.replaced}
	outcome := restarter.Restart(ctx, p.app.Namespace, list, seen, p.in.Now)
	p.restartAfter = outcome.After
	if outcome.Failure != nil {
		log.FromContext(ctx).Error(outcome.Failure, "workloads are not restarted, trying again")
	}
	if len(outcome.Restarted) > 0 {
		r.event(p.app, corev1.EventTypeNormal, eventWorkloadRestarted, actionRestart,
			"rolled out, since the content of %s changed: %s", p.in.Secret, strings.Join(outcome.Restarted, ", "))
	}
	if outcome.Show(p.app) {
		trouble := status.Get(p.app, v1alpha1.ConditionWorkloadsCurrent)
		r.event(p.app, corev1.EventTypeWarning, trouble.Reason, actionRestart, "%s", trouble.Message)
	}
}

// publishedDigest is that of what the manager published, without what others put
// there; empty while it is not as it is wanted, or the server, which is in it, is
// not known.
func (r *Reconciler) publishedDigest(p *pass) string {
	if p.connection == nil || p.in.Policy == nil || p.in.SecretHindrance != nil {
		return ""
	}
	want := wantedSecret(p, p.result.Target)
	if !r.objectsOf(p.published()).Matches(p.secret, want) {
		return ""
	}
	return rollout.Digest(want.Data)
}

// replaces tells whether readers of data find something else in what is wanted.
func replaces(data, wanted map[string][]byte) bool {
	for key, value := range wanted {
		if !bytes.Equal(data[key], value) {
			return true
		}
	}
	return false
}

// writeRestarts writes the status where nothing but the condition about workloads
// may have changed.
func (r *Reconciler) writeRestarts(ctx context.Context, p *pass) error {
	shown, before := status.Get(p.app, v1alpha1.ConditionWorkloadsCurrent), status.Get(p.original, v1alpha1.ConditionWorkloadsCurrent)
	if equality.Semantic.DeepEqual(shown, before) {
		return nil
	}
	return r.writeStatus(ctx, p)
}
