// SPDX-License-Identifier: Apache-2.0

package accesstoken

import (
	"context"
	"time"

	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/apply"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/refresher"
)

// Reconciler keeps token Secrets fresh. The exported fields are its
// dependencies.
type Reconciler struct {
	Client client.Client
	// Live reads from the API server, for the last look before a token is
	// asked for.
	Live client.Reader
	// Secrets writes token Secrets.
	Secrets *apply.Secrets
	// Connections are the token servers that can be used.
	Connections *inventory.Connections
	Recorder    events.EventRecorder
	// MinimumLifetime is the shortest life of a token that is put into a
	// Secret: kubelets take up to two minutes to bring it to its readers.
	MinimumLifetime time.Duration
	// Backoff paces the tries after a failure; its zero value has defaults.
	Backoff refresher.Backoff
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	failures failures
}

// Reconcile brings one AccessToken's Secret up to date and says when to look
// again.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	original := &v1alpha1.AccessToken{}
	if err := r.Client.Get(ctx, request.NamespacedName, original); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	token := original.DeepCopy()
	if !token.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, r.finalize(ctx, token)
	}
	if err := r.settleFinalizer(ctx, token); err != nil {
		return ctrl.Result{}, err
	}
	if status.MarkProgressing(token) {
		if _, err := status.Patch(ctx, r.Client, original, token); err != nil {
			return ctrl.Result{}, client.IgnoreNotFound(err)
		}
		original = token.DeepCopy()
	}
	s := &scope{token: token, now: r.now()}
	problem := r.run(ctx, s)
	if ctx.Err() != nil {
		return ctrl.Result{}, ctx.Err()
	}
	return r.finish(ctx, original, s, problem)
}

// run looks at what is there, decides, and asks for a token when one is due.
func (r *Reconciler) run(ctx context.Context, s *scope) error {
	if err := r.readSecret(ctx, s); err != nil {
		return err
	}
	if s.token.Suspended() {
		return nil
	}
	if err := r.readApp(ctx, s); err != nil {
		return err
	}
	if !s.due() {
		return r.publish(ctx, s, s.held)
	}
	// The cache may not have seen our own last write yet.
	if err := r.readSecretLive(ctx, s); err != nil {
		return err
	}
	if !s.due() {
		return r.publish(ctx, s, s.held)
	}
	return r.renew(ctx, s)
}

// finish writes the status when it changed, and schedules the next look.
func (r *Reconciler) finish(ctx context.Context, original *v1alpha1.AccessToken, s *scope, problem error) (ctrl.Result, error) {
	s.fillStatus()
	if s.token.Suspended() && problem == nil {
		status.Suspend(s.token)
	} else {
		status.Summarise(s.token, problem, "the Secret holds a valid token")
	}
	changed, err := status.Patch(ctx, r.Client, original, s.token)
	if err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if changed {
		r.report(ctx, original, s.token)
	}
	result, err := status.Result(problem)
	if err != nil {
		return result, err
	}
	return s.schedule(result), nil
}

// report logs a change of Ready and makes an Event of it. A token that took the
// place of another as planned is no news.
func (r *Reconciler) report(ctx context.Context, original, token *v1alpha1.AccessToken) {
	before, after := status.Get(original, v1alpha1.ConditionReady), status.Get(token, v1alpha1.ConditionReady)
	if before != nil && before.Status == after.Status && before.Reason == after.Reason {
		return
	}
	log.FromContext(ctx).Info("access token reconciled", "ready", after.Status, "reason", after.Reason, "message", after.Message)
	switch after.Reason {
	case v1alpha1.ReasonReady:
		r.Recorder.Eventf(token, nil, "Normal", v1alpha1.ReasonTokenIssued, "Issue", "%s", after.Message)
	case v1alpha1.ReasonAppNotReady, v1alpha1.ReasonAppNotFound, v1alpha1.ReasonSuspended:
		// To wait for one's app is how it begins, to be suspended was asked for.
	default:
		r.Recorder.Eventf(token, nil, "Warning", after.Reason, "Issue", "%s", after.Message)
	}
}

func (r *Reconciler) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}
