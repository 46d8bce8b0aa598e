// SPDX-License-Identifier: Apache-2.0

package accesstoken

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
)

// What the manager was doing, in the field action of an Event.
const (
	actionIssue   = "Issue"
	actionRefresh = "Refresh"
	actionRepair  = "Repair"
	actionRevoke  = "Revoke"
	actionRestart = "Restart"
)

// Reasons of Events that are no reasons of a condition.
const (
	// eventSecretRestored: somebody changed or deleted the Secret, and it was
	// written anew.
	//
	//   - AccessToken Events: Let nothing else write it.
	eventSecretRestored = "SecretRestored"
	// eventWorkloadRestarted: the workloads in the message are rolled out, since the
	// token changed.
	//
	//   - AccessToken Events.
	eventWorkloadRestarted = "WorkloadRestarted"
)

// fillStatus writes into the status what the Secret holds. Of a Secret that could
// not be looked at nothing new is known.
func (p *pass) fillStatus() {
	if !p.looked {
		return
	}
	p.fillTokenFresh()
	st := &p.token.Status
	if p.held == nil {
		st.IssuedAt, st.ExpiresAt, st.NextRefreshTime = nil, nil, nil
		return
	}
	st.IssuedAt, st.ExpiresAt, st.NextRefreshTime = moment(p.held.IssuedAt), moment(p.held.ExpiresAt), moment(p.refreshAt())
	if !p.refreshes() {
		st.NextRefreshTime = nil
	}
	if purpose := p.wantedPurpose(); purpose != "" && p.held.Purpose == purpose {
		st.LastHandledRefreshAt = p.requested()
	}
}

func (p *pass) fillTokenFresh() {
	const condition = v1alpha1.ConditionTokenFresh
	name := p.token.SecretName()
	switch {
	case p.valid() && p.trouble != nil:
		status.Unknown(p.token, condition, p.trouble.Reason,
			fmt.Sprintf("the token in Secret %s has not expired, but whether the token server still takes it is not known: %s", name, p.trouble.Message))
	case p.valid() && p.doubted:
		status.Unknown(p.token, condition, v1alpha1.ReasonAppNotReady,
			fmt.Sprintf("the token in Secret %s has not expired, but whether the token server still takes it is not known: it is replaced when ConnectedApp %s is ready",
				name, p.token.Spec.ConnectedAppRef.Name))
	case p.valid():
		status.True(p.token, condition, v1alpha1.ReasonTokenIssued, fmt.Sprintf("the token in Secret %s is valid", name))
	case p.held != nil:
		status.False(p.token, condition, v1alpha1.ReasonTokenExpired, fmt.Sprintf("the token in Secret %s has expired", name))
	case p.secret != nil:
		status.False(p.token, condition, v1alpha1.ReasonSecretContested, fmt.Sprintf("Secret %s does not hold what was written into it", name))
	default:
		status.False(p.token, condition, v1alpha1.ReasonProgressing, fmt.Sprintf("there is no Secret %s with a token", name))
	}
}

// moment has whole seconds, as the API server stores it: more would show as a
// change with every write.
func moment(t time.Time) *metav1.Time { return &metav1.Time{Time: t.UTC().Truncate(time.Second)} }

func (p *pass) readyMessage() string {
	message := fmt.Sprintf("Secret %s holds a valid token of ConnectedApp %s", p.token.SecretName(), p.token.Spec.ConnectedAppRef.Name)
	if p.rival != "" {
		message += fmt.Sprintf(", but it is changed or deleted again and again by %s, and each repair waits longer: %s", p.rival, p.rivalAdvice())
	}
	return message
}

// suspendedMessage says what a suspended AccessToken has; empty: no token that is
// known to be valid.
func (p *pass) suspendedMessage() string {
	if !status.IsTrue(p.token, v1alpha1.ConditionTokenFresh) {
		return ""
	}
	return fmt.Sprintf("spec.suspend is true: the token in Secret %s is valid and is not replaced", p.token.SecretName())
}

func (p *pass) rivalAdvice() string {
	return fmt.Sprintf("let nothing else write Secret %s, or choose another spec.secret.name", p.token.SecretName())
}

// report logs a change of Ready and makes an Event of it. A token that took the
// place of another as planned is no news.
func (r *Reconciler) report(ctx context.Context, p *pass) {
	after := status.Get(p.token, v1alpha1.ConditionReady)
	if after == nil {
		after = &metav1.Condition{Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonSuspended, Message: "spec.suspend is true: no token is issued"}
	}
	if p.was == nil && after.Status == metav1.ConditionUnknown {
		return // it was suspended before
	}
	if p.was != nil && p.was.Status == after.Status && p.was.Reason == after.Reason && p.was.Message == after.Message {
		return
	}
	log.FromContext(ctx).Info("access token reconciled", "ready", after.Status, "reason", after.Reason, "message", after.Message)
	reason, kind := after.Reason, corev1.EventTypeWarning
	switch reason {
	case v1alpha1.ReasonReady:
		reason, kind = v1alpha1.ReasonTokenIssued, corev1.EventTypeNormal
	case v1alpha1.ReasonSuspended:
		kind = corev1.EventTypeNormal
	case v1alpha1.ReasonAppNotReady, v1alpha1.ReasonAppNotFound:
		if p.was == nil || p.was.Status != metav1.ConditionTrue {
			kind = corev1.EventTypeNormal // to wait for one's app is how it begins
		}
	}
	r.event(p.token, kind, reason, actionIssue, "%s", after.Message)
}

func (r *Reconciler) event(token *v1alpha1.AccessToken, kind, reason, action, format string, args ...any) {
	r.Recorder.Eventf(token, nil, kind, reason, action, format, args...)
}
