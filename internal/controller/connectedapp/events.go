// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/metrics"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/plan"
)

// What the manager was doing, in the field action of an Event.
const (
	actionReconcile = "Reconcile"
	actionDelete    = "Delete"
	actionRestart   = "Restart"
)

// Reasons of Events that are no reasons of a condition.
const (
	// eventSecretRestored: the Secret was deleted, or changed by the field manager
	// in the message, and is written anew.
	//
	//   - ConnectedApp Events: Let nothing else write it.
	eventSecretRestored = "SecretRestored"
	// eventClientReplaced: the client was gone and is registered anew under another
	// id (docs/spec/v1alpha1/connectedapps.md#a-client-that-is-gone).
	//
	//   - ConnectedApp Events: Restart what does not read the Secret again.
	eventClientReplaced = "ClientReplaced"
	// eventFieldNotKept: the server does not keep what the spec says of a field. It
	// is not sent again.
	//
	//   - ConnectedApp Events: Take the field out of the spec.
	eventFieldNotKept = "FieldNotKept"
	// eventClientRemembered: the server did not answer in time, or its TokenServer
	// is gone; the client is deleted when it is back.
	//
	//   - ConnectedApp Events.
	eventClientRemembered = "ClientRemembered"
	// eventNarrowed: what access rules do not allow was taken from a client though
	// its spec is not carried out: it is suspended, reported or left behind.
	//
	//   - ConnectedApp Events: Ask for less, or the platform team for a rule.
	eventNarrowed = "Narrowed"
	// eventClientAdopted: the client that the annotation adopt-client-id names is
	// the app's; the message says what differs from the spec.
	//
	//   - ConnectedApp Events.
	eventClientAdopted = "ClientAdopted"
	// eventRotated: the Secret holds another client secret; the message says until
	// when the former one is accepted.
	//
	//   - ConnectedApp Events.
	eventRotated = "Rotated"
	// eventSecretRetired: a client secret that was replaced is not accepted any
	// more.
	//
	//   - ConnectedApp Events.
	eventSecretRetired = "SecretRetired"
	// eventWorkloadRestarted: the workloads in the message are rolled out, since
	// what is published changed.
	//
	//   - ConnectedApp Events.
	eventWorkloadRestarted = "WorkloadRestarted"
)

// report tells people what changed in this pass: nothing when nothing did.
func (r *Reconciler) report(ctx context.Context, p *pass) {
	r.reportReady(ctx, p)
	result := p.result
	if len(result.Drift) > 0 && p.driftIsNews() && (!result.Repaired || !p.unfinished) {
		metrics.Drift(p.in.Server.Name, result.Repaired)
	}
	switch {
	case result.Replaced != "" && p.app.Status.ClientID != "":
		r.event(p.app, corev1.EventTypeWarning, eventClientReplaced, actionReconcile,
			"client %s was gone from the token server; the app was registered anew as client %s", result.Replaced, p.app.Status.ClientID)
	case p.tookOver:
		r.event(p.app, corev1.EventTypeNormal, eventClientAdopted, actionReconcile, "%s", p.adoptedText())
	case len(result.Drift) > 0:
		r.reportDrift(p)
	}
	if len(p.notKept) > 0 {
		r.event(p.app, corev1.EventTypeWarning, eventFieldNotKept, actionReconcile,
			"the token server does not keep what the spec says, it is not sent again: %s", describe(p.notKept))
	}
	if narrowed := p.narrowed(); len(narrowed) > 0 {
		r.event(p.app, corev1.EventTypeWarning, eventNarrowed, actionReconcile,
			"access rules do not allow all that client %s had, which was taken away: %s", p.app.Status.ClientID, describe(narrowed))
	}
	if result.Repairs && p.written {
		r.event(p.app, corev1.EventTypeWarning, eventSecretRestored, actionReconcile, "%s", p.restored())
	}
	r.reportRotation(p)
}

// narrowed are the changes that the server kept.
func (p *pass) narrowed() []plan.Change {
	return slices.DeleteFunc(slices.Clone(p.result.Narrowed), func(c plan.Change) bool {
		return slices.ContainsFunc(p.notKept, func(other plan.Change) bool { return other.Field == c.Field })
	})
}

// adoptedText says what was adopted and what becomes of it.
func (p *pass) adoptedText() string {
	text := fmt.Sprintf("client %s, which was not made for this ConnectedApp, is adopted", p.app.Status.ClientID)
	switch {
	case len(p.result.Drift) == 0:
		return text + "; it is as the spec says"
	case p.result.Repaired:
		return text + "; changed to what the spec says: " + describe(p.result.Drift)
	}
	return text + "; left as it is by spec.driftPolicy Report: " + describe(p.result.Drift)
}

// reportDrift tells of drift when it is news.
func (r *Reconciler) reportDrift(p *pass) {
	if !p.driftIsNews() {
		return
	}
	now := status.Get(p.app, v1alpha1.ConditionDrifted)
	r.event(p.app, corev1.EventTypeWarning, now.Reason, actionReconcile, "%s", now.Message)
}

func (p *pass) driftIsNews() bool {
	now := status.Get(p.app, v1alpha1.ConditionDrifted)
	return now != nil && (now.Message != p.condition(v1alpha1.ConditionDrifted).Message || p.result.Repaired)
}

// restored says who made it necessary to write the Secret anew.
func (p *pass) restored() string {
	switch {
	case !p.in.Secret.Exists:
		return fmt.Sprintf("%s was deleted and is written anew", p.in.Secret)
	case p.made == nil:
		return fmt.Sprintf("%s was changed by field manager %s and is written anew", p.in.Secret, p.in.Secret.Foreign)
	}
	return fmt.Sprintf("secret %s was changed by field manager %s and is written anew, with another client secret", p.in.Secret.Name, p.in.Secret.Foreign)
}

// reportReady tells that the app became ready, or why it did not: whenever what
// it says is something else than before.
func (r *Reconciler) reportReady(ctx context.Context, p *pass) {
	ready, before := status.Get(p.app, v1alpha1.ConditionReady), p.condition(v1alpha1.ConditionReady)
	if ready == nil && before.Type == "" {
		return // it was suspended before
	}
	if ready == nil {
		ready = &metav1.Condition{Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonSuspended, Message: suspendedMessage(p.in.App)}
	}
	if ready.Status == before.Status && ready.Reason == before.Reason && ready.Message == before.Message {
		return
	}
	if ready.Reason == v1alpha1.ReasonTokenServerUnavailable {
		return // or thousands of apps would say what its TokenServer says once
	}
	log.FromContext(ctx).Info("ConnectedApp", "ready", ready.Status, "reason", ready.Reason, "message", ready.Message)
	kind := corev1.EventTypeNormal
	if ready.Status == metav1.ConditionFalse && !isWaiting(p.app) {
		kind = corev1.EventTypeWarning
	}
	r.event(p.app, kind, ready.Reason, actionReconcile, "%s", ready.Message)
}

// isWaiting tells whether the app is not ready because something is not there
// yet.
func isWaiting(app *v1alpha1.ConnectedApp) bool {
	ready := status.Get(app, v1alpha1.ConditionReady)
	switch ready.Reason {
	case v1alpha1.ReasonWaitingForSecret, v1alpha1.ReasonSecretNotShared, v1alpha1.ReasonConfigMapNotFound,
		v1alpha1.ReasonTokenServerNotFound, v1alpha1.ReasonTokenServerDeleting, v1alpha1.ReasonDeleting:
		return true
	}
	return false
}

func (r *Reconciler) event(app *v1alpha1.ConnectedApp, kind, reason, action, format string, args ...any) {
	r.Events.Eventf(app, nil, kind, reason, action, format, args...)
}

func describe(changes []plan.Change) string {
	texts := make([]string, len(changes))
	for i, c := range changes {
		texts[i] = c.String()
	}
	return strings.Join(texts, "; ")
}
