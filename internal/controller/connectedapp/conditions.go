// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"errors"
	"fmt"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/plan"
)

// summarise sets the conditions: what the plan found, what was done, and Ready
// over all.
func (p *pass) summarise(err error) {
	p.sayPolicy()
	if !p.app.DeletionTimestamp.IsZero() {
		p.sayDeleting(err)
		return
	}
	p.sayDrift()
	p.sayRotating()
	failure := p.sayFailure(err)
	if p.result.CarriesOut && failure != v1alpha1.ConditionRegistered && p.app.Status.ClientID != "" {
		status.True(p.app, v1alpha1.ConditionRegistered, p.registeredReason(), p.registeredMessage())
		if publishedName(p.app, p.published()) != "" && failure != v1alpha1.ConditionSecretPublished && (err == nil || failure != "") {
			status.True(p.app, v1alpha1.ConditionSecretPublished, v1alpha1.ReasonPublished, p.publishedMessage())
		}
	}
	if e, ok := errors.AsType[*status.Error](err); ok && e.Reason == v1alpha1.ReasonSuspended {
		p.saySuspended()
		return
	}
	status.Summarise(p.app, err, p.readyMessage())
	if err == nil && !p.enabled() {
		status.True(p.app, v1alpha1.ConditionReady, v1alpha1.ReasonDisabled, p.readyMessage())
	}
}

func (p *pass) sayPolicy() {
	verdict := p.result.Verdict
	if verdict == nil {
		return
	}
	if hold := p.result.Refusal; hold != nil {
		status.False(p.app, v1alpha1.ConditionPolicyAccepted, hold.Reason, hold.Message)
		return
	}
	status.True(p.app, v1alpha1.ConditionPolicyAccepted, v1alpha1.ReasonAccepted, verdict.Message())
}

// sayFailure sets the condition that err is about and returns its type; empty
// when it is about none in particular.
func (p *pass) sayFailure(err error) string {
	e, ok := errors.AsType[*status.Error](err)
	if !ok || e.Reason == v1alpha1.ReasonSuspended {
		return ""
	}
	condition := v1alpha1.ConditionRegistered
	switch {
	case p.result.Hold != nil && p.result.Hold.Message == e.Message:
		condition = p.result.Hold.Condition
	case p.secretFailed:
		condition = v1alpha1.ConditionSecretPublished
	}
	if condition != "" && condition != v1alpha1.ConditionPolicyAccepted {
		status.False(p.app, condition, e.Reason, e.Message)
	}
	if condition != v1alpha1.ConditionSecretPublished {
		p.endWaiting()
	}
	return condition
}

// endWaiting takes back that an ExistingSecret is waited for that is there: what
// stands in the way now is something else.
func (p *pass) endWaiting() {
	said := status.Get(p.app, v1alpha1.ConditionSecretPublished)
	if p.in.Existing == nil || said == nil {
		return
	}
	if said.Reason == v1alpha1.ReasonWaitingForSecret || said.Reason == v1alpha1.ReasonSecretNotShared {
		status.Remove(p.app, v1alpha1.ConditionSecretPublished)
	}
}

// sayDrift keeps the condition Drifted. Nothing is known of drift when the
// client was not compared.
func (p *pass) sayDrift() {
	result := p.result
	compared := result.CarriesOut && p.in.Live != nil && (p.in.Live.Client == nil || !p.in.Live.Client.Unread)
	switch {
	case len(result.Drift) > 0 && result.Repaired && p.unfinished:
		status.True(p.app, v1alpha1.ConditionDrifted, v1alpha1.ReasonDriftDetected, "changed on the token server, and not undone yet: "+describe(result.Drift))
	case len(result.Drift) > 0 && result.Repaired:
		status.False(p.app, v1alpha1.ConditionDrifted, v1alpha1.ReasonDriftRepaired, "undone: "+describe(result.Drift))
	case len(result.Drift) > 0:
		status.True(p.app, v1alpha1.ConditionDrifted, v1alpha1.ReasonDriftDetected,
			"changed on the token server, and left so by spec.driftPolicy Report: "+describe(result.Drift))
	case compared && status.IsTrue(p.app, v1alpha1.ConditionDrifted):
		status.False(p.app, v1alpha1.ConditionDrifted, v1alpha1.ReasonNoDrift, "the client is as the spec says again")
	}
}

func (p *pass) sayDeleting(err error) {
	e := status.As(err, v1alpha1.ReasonDeleting, "deleting the client failed, trying again")
	status.False(p.app, v1alpha1.ConditionReady, v1alpha1.ReasonDeleting, e.Message)
	status.True(p.app, v1alpha1.ConditionReconciling, v1alpha1.ReasonDeleting, e.Message)
	status.Remove(p.app, v1alpha1.ConditionStalled)
}

// saySuspended is the status of an app that the manager leaves alone. It is Ready
// while nothing waits for the end of the suspension; else nobody can tell, and
// tools that wait for objects must not wait for this one.
func (p *pass) saySuspended() {
	ready := ""
	isGone := p.in.Live != nil && p.in.Live.Client == nil
	if plan.Settled(p.in) && p.result.Refusal == nil && !isGone {
		ready = suspendedMessage(p.app) + "; the app is as it was before: " + p.readyMessage()
	}
	status.Suspend(p.app, ready)
}

func suspendedMessage(app *v1alpha1.ConnectedApp) string {
	if app.Status.ClientID == "" {
		return "spec.suspend is true: nothing is registered until it is false"
	}
	return "spec.suspend is true: the manager changes nothing but what access rules forbid"
}

// enabled tells whether the client gets tokens.
func (p *pass) enabled() bool { return p.result.Target.Enabled }

func (p *pass) registeredReason() string {
	if !p.enabled() {
		return v1alpha1.ReasonDisabled
	}
	return v1alpha1.ReasonRegistered
}

// hintSeparator stands before each hint in a message.
const hintSeparator = "; "

func (p *pass) registeredMessage() string {
	text := "registered as client " + p.app.Status.ClientID
	if !p.enabled() {
		text += ", which is disabled and gets no tokens"
	}
	for _, hint := range p.hints {
		text += hintSeparator + hint
	}
	return text
}

func (p *pass) publishedMessage() string {
	if p.isExisting() {
		return fmt.Sprintf("the client has the secret of secret %s; id and addresses are in secret %s", p.app.CredentialsSecretName(), p.in.Secret.Name)
	}
	if !p.app.CredentialsType().HasClientSecret() {
		return "id and addresses are in " + p.in.Secret.String()
	}
	return "credentials are in secret " + p.in.Secret.Name
}

func (p *pass) readyMessage() string {
	return p.registeredMessage() + ", " + p.publishedMessage()
}
