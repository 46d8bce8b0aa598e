// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
)

// What the manager was doing, in the field action of an Event.
const (
	actionReconcile = "Reconcile"
	actionDelete    = "Delete"
)

// Reasons of Events that are no reasons of a condition.
const (
	eventSecretRestored   = "SecretRestored"
	eventClientReplaced   = "ClientReplaced"
	eventFieldNotKept     = "FieldNotKept"
	eventClientRemembered = "ClientRemembered"
)

// report tells people what changed in this reconciliation: nothing when nothing
// did.
func (r *Reconciler) report(ctx context.Context, s *scope, outcome error) {
	r.reportReady(ctx, s, outcome)
	if s.replaced {
		r.event(s.app, corev1.EventTypeWarning, eventClientReplaced, actionReconcile,
			"the client was gone from the token server and was registered anew as %s", s.app.Status.ClientID)
	} else if len(s.drift) > 0 {
		reason := v1alpha1.ReasonDriftDetected
		if s.repaired {
			reason = v1alpha1.ReasonDriftRepaired
		}
		r.event(s.app, corev1.EventTypeWarning, reason, actionReconcile, "%s", describe(s.drift))
	}
	if len(s.notKept) > 0 {
		r.event(s.app, corev1.EventTypeWarning, eventFieldNotKept, actionReconcile,
			"the token server does not keep what the spec says, it is not sent again: %s", describe(s.notKept))
	}
	if s.restored && !s.replaced {
		r.event(s.app, corev1.EventTypeNormal, eventSecretRestored, actionReconcile,
			"secret %s was written anew", s.app.CredentialsSecretName())
	}
}

// reportReady tells that the app became ready, or why it did not.
func (r *Reconciler) reportReady(ctx context.Context, s *scope, outcome error) {
	ready := status.Get(s.app, v1alpha1.ConditionReady)
	if !r.memory.reported(s.app, ready.Reason, s.app.Generation) {
		return
	}
	if ready.Reason == v1alpha1.ReasonTokenServerUnavailable {
		return // or thousands of apps would say what its TokenServer says once
	}
	log.FromContext(ctx).Info("ConnectedApp", "ready", ready.Status, "reason", ready.Reason, "message", ready.Message)
	if ready.Status == metav1.ConditionTrue && s.wasReady {
		return // after a restart of the manager
	}
	kind := corev1.EventTypeNormal
	if e, ok := errors.AsType[*status.Error](outcome); outcome != nil && (!ok || e.Kind != status.Waiting) {
		kind = corev1.EventTypeWarning
	}
	r.event(s.app, kind, ready.Reason, actionReconcile, "%s", ready.Message)
}

func (r *Reconciler) event(app *v1alpha1.ConnectedApp, kind, reason, action, format string, args ...any) {
	r.Events.Eventf(app, nil, kind, reason, action, format, args...)
}
