// SPDX-License-Identifier: Apache-2.0

package accesstoken

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/apply"
	"connectedapps.dev/operator/internal/controller/lane"
	"connectedapps.dev/operator/internal/controller/object"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/refresher"
	"connectedapps.dev/operator/internal/tracing"
)

// Reconciler keeps token Secrets fresh. The exported fields are its
// dependencies.
type Reconciler struct {
	// Tracing makes a span of each pass; nil: none are made.
	Tracing *tracing.Tracing
	// Client reads from the cache.
	Client client.Client
	// Live reads from the API server: Secrets that are not labelled.
	Live client.Reader
	// Objects reads and writes AccessTokens.
	Objects *object.Store[*v1alpha1.AccessToken]
	// Secrets writes token Secrets.
	Secrets *apply.Secrets
	// Connections are the token servers that can be used.
	Connections *inventory.Connections
	Recorder    events.EventRecorder
	// MinimumLifetime is the shortest life of a token that is put into a
	// Secret: kubelets take up to two minutes to bring it to its readers.
	MinimumLifetime time.Duration
	// Doubt is told of an app whose client secret the token server does not take:
	// what the manager knows of it may be outdated. Nil: nobody is told.
	Doubt func(app types.NamespacedName)
	// Backoff paces the tries after a failure; its zero value has defaults.
	Backoff refresher.Backoff
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	memory memory
	lanes  lane.Lanes
	// breakers are of the token endpoints, by TokenServer.
	breakers breakers
}

// Reconcile brings one AccessToken's Secret up to date and says when to look
// again.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	leave := sync.OnceFunc(func() { r.lanes.Done(request) })
	defer leave()
	token, err := r.Objects.Get(ctx, request.NamespacedName)
	if apierrors.IsNotFound(err) {
		r.memory.forget(request.NamespacedName)
		return ctrl.Result{}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	if !token.DeletionTimestamp.IsZero() {
		return r.finalize(ctx, token)
	}
	p := newPass(token, r.now())
	p.leave = leave
	original := token.DeepCopy()
	if status.MarkProgressing(token) {
		written, err := r.Objects.WriteStatus(ctx, original, token)
		if err != nil || !written { // or gone
			return unwritten(err)
		}
		original = token.DeepCopy()
	}
	problem := r.run(ctx, p)
	if ctx.Err() != nil {
		return ctrl.Result{}, ctx.Err()
	}
	r.restart(ctx, p)
	return r.finish(ctx, original, p, problem)
}

// run looks at what is there, decides, and asks for a token when one is due.
func (r *Reconciler) run(ctx context.Context, p *pass) error {
	if err := r.settleFinalizer(ctx, p.token); err != nil {
		return err
	}
	if err := r.readSecret(ctx, p); err != nil {
		return err
	}
	if p.token.Suspended() {
		return nil
	}
	if err := r.readApp(ctx, p); err != nil {
		return err
	}
	if err := r.readCredentials(ctx, p); err != nil {
		return r.withoutCredentials(ctx, p, err)
	}
	decision := r.decide(p)
	if decision.Action != refresher.Ask && r.published(p) {
		return r.wait(ctx, p, decision)
	}
	if decision.Action == refresher.Ask {
		if err := r.mayAsk(ctx, p); err != nil || p.queued {
			return err
		}
	}
	// The cache may not have seen yet what was written last, by us or others.
	if err := r.readSecretLive(ctx, p); err != nil {
		return err
	}
	damage := r.damage(p)
	if err := r.pace(p, damage); err != nil {
		return err
	}
	if err := r.provide(ctx, p); err != nil {
		return err
	}
	r.repaired(p, damage)
	return nil
}

// provide makes the Secret hold a token.
func (r *Reconciler) provide(ctx context.Context, p *pass) error {
	decision := r.decide(p)
	if decision.Action == refresher.Ask {
		if err := r.mayAsk(ctx, p); err != nil || p.queued {
			return err
		}
		return r.renew(ctx, p)
	}
	if err := r.publish(ctx, p, p.held); err != nil {
		return err
	}
	return r.wait(ctx, p, decision)
}

// decide says what is to be done about the token.
func (r *Reconciler) decide(p *pass) refresher.Decision {
	failures, _ := r.memory.failures(p.name())
	return refresher.Decide(p.held, p.wantedPurpose(), failures, p.now)
}

// wait is the outcome when nothing is asked for: the last failure is still true
// for readers without a token that serves.
func (r *Reconciler) wait(ctx context.Context, p *pass, decision refresher.Decision) error {
	if decision.Action == refresher.Wait {
		p.retry = decision.Until.Sub(p.now)
		if _, problem := r.memory.failures(p.name()); problem != nil && !p.serves() {
			return problem
		}
	}
	return r.removeFormer(ctx, p)
}

// finish writes the status when it changed, and schedules the next look.
func (r *Reconciler) finish(ctx context.Context, original *v1alpha1.AccessToken, p *pass, problem error) (ctrl.Result, error) {
	if p.isUntold(problem) {
		return status.Result(problem)
	}
	if p.queued && (p.serves() || !p.wasReady()) {
		// It is woken when its turn comes, and at the latest when its token ends.
		return p.schedule(ctrl.Result{}), nil
	}
	p.rival, p.rivalUntil = r.memory.fought(p.name(), p.now)
	p.fillStatus()
	if p.token.Suspended() && problem == nil {
		status.Suspend(p.token, p.suspendedMessage())
	} else {
		status.Summarise(p.token, problem, p.readyMessage())
	}
	written, err := r.Objects.WriteStatus(ctx, original, p.token)
	if err != nil {
		return unwritten(err)
	}
	if written {
		r.report(ctx, p)
	}
	result, err := status.Result(problem)
	if err != nil {
		return result, err
	}
	return p.schedule(result), nil
}

// isUntold tells whether a problem is nothing to tell: a lost race, or a failure
// of the API server while readers have all they need.
func (p *pass) isUntold(problem error) bool {
	if problem == nil {
		return false
	}
	switch status.As(problem, v1alpha1.ReasonWriteFailed, "").Kind {
	case status.Race:
		return true
	case status.Transient:
		expires := p.token.Status.ExpiresAt
		return p.wasReady() && expires != nil && expires.After(p.now)
	case status.Waiting, status.Stalled:
	}
	return false
}

// unwritten is the outcome when the object itself could not be written, of which
// no condition can tell.
func unwritten(err error) (ctrl.Result, error) {
	if race := object.WriteError("the AccessToken", err); status.IsRace(race) {
		return status.Result(race)
	}
	return ctrl.Result{}, err
}

func (r *Reconciler) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}
