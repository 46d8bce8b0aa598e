// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"connectedapps.dev/operator/api/v1alpha1"
)

// deletionRetry is the pause between attempts at a deletion that does not get
// through; the server's recovery ends it early.
const deletionRetry = 15 * time.Second

// deletion is the plan for an object that is being deleted. It always ends: a
// client whose server does not answer in time is remembered.
func deletion(in Input, r Result) Result {
	if in.App.Spec.DeletionPolicy == v1alpha1.DeletionOrphan && r.Verdict != nil && r.Verdict.OrphanAllowed {
		return orphan(in, r)
	}
	secret := Action{Kind: RemoveSecret}
	if slices.Contains(in.App.Finalizers, metav1.FinalizerOrphanDependents) {
		// Who deletes with --cascade=orphan wants what belongs to the object to stay.
		// The garbage collector makes it nobody's, maybe after this.
		secret.Kind = ReleaseSecret
	}
	if in.Live == nil {
		return unanswered(in, r, secret)
	}
	if in.Live.Client != nil {
		r.Actions = append(r.Actions, Action{Kind: DeleteClient, ID: in.Live.Client.ID})
	}
	for _, id := range in.Live.Unclaimed {
		r.Actions = append(r.Actions, Action{Kind: DeleteClient, ID: id})
	}
	r.Actions = append(r.Actions, secret, Action{Kind: LetGo})
	return r
}

// orphan leaves the client, within what access rules allow, and its Secret.
func orphan(in Input, r Result) Result {
	if in.Live == nil && r.Verdict.Allowed && Settled(in) && !ReportsDrift(in.App) {
		// It was found to be allowed, and may stay.
		r.Actions = append(r.Actions, Action{Kind: ReleaseSecret}, Action{Kind: LetGo})
		return r
	}
	if in.Live == nil {
		return unanswered(in, r, Action{Kind: RemoveSecret})
	}
	for _, id := range in.Live.Unclaimed {
		r.Actions = append(r.Actions, Action{Kind: DeleteClient, ID: id})
	}
	if in.Live.Client != nil && !in.Live.OwnedElsewhere {
		r = clientActions(in, r, false)
	}
	r.Actions = append(r.Actions, Action{Kind: ReleaseSecret}, Action{Kind: LetGo})
	return r
}

// unanswered waits for the server, and no longer than the TokenServer says: not at
// all when there is none, unless the client was to stay.
func unanswered(in Input, r Result, secret Action) Result {
	left := in.Server.DeletionTimeout - in.Now.Sub(in.App.DeletionTimestamp.Time)
	if !in.Server.Exists && in.App.Spec.DeletionPolicy != v1alpha1.DeletionOrphan {
		left = 0
	}
	if left > 0 {
		away := Hold{Message: "the token server cannot be asked to delete the client, trying again"}
		if in.Server.Away != nil {
			away = *in.Server.Away
		}
		away.Reason, away.Stalled, away.After = v1alpha1.ReasonDeleting, false, min(left, deletionRetry)
		r.Hold = &away
		return r
	}
	r.Actions = append(r.Actions, Action{Kind: Remember}, secret, Action{Kind: LetGo})
	return r
}
