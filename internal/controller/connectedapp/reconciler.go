// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/apply"
	"connectedapps.dev/operator/internal/controller/lane"
	"connectedapps.dev/operator/internal/controller/object"
	"connectedapps.dev/operator/internal/controller/ownership"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/controller/tokenserver"
	"connectedapps.dev/operator/internal/controller/tombstone"
	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/plan"
	"connectedapps.dev/operator/internal/tracing"
)

// Reconciler keeps ConnectedApps as their specs say.
type Reconciler struct {
	// Tracing makes a span of each pass; nil: none are made.
	Tracing *tracing.Tracing
	// Client reads from the cache and writes.
	Client client.Client
	// Live reads from the API server.
	Live client.Reader
	// Connections are the token servers that can be used.
	Connections *inventory.Connections
	// Events tells people what changed.
	Events events.EventRecorder
	// ClusterID tells this cluster's clients from those of others on the same
	// token server: the UID of the namespace kube-system.
	ClusterID string
	// Losses decides whether a client that is gone is registered anew.
	Losses *tokenserver.Losses
	// Tombstones remembers the clients of objects that did not wait for them.
	Tombstones *tombstone.Store
	// Owners remembers whose a client is where no mark on its server tells.
	Owners *ownership.Records
	// Namespaces are those that are served; empty: all.
	Namespaces []string
	// ResyncInterval is how often each client is compared with its spec.
	ResyncInterval time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	prepare    sync.Once
	objects    object.Store[*v1alpha1.ConnectedApp]
	registered registered
	lanes      lane.Lanes
	doubted    chan event.GenericEvent
}

// Reconcile does what is pending for one ConnectedApp.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	r.prepare.Do(func() {
		r.objects.Client, r.objects.Live, r.objects.FieldManager = r.Client, r.Live, apply.ManagerConnectedApp
		r.objects.New = func() *v1alpha1.ConnectedApp { return &v1alpha1.ConnectedApp{} }
	})
	leave := sync.OnceFunc(func() { r.lanes.Done(request) })
	defer leave()
	app, err := r.objects.Get(ctx, request.NamespacedName)
	if apierrors.IsNotFound(err) {
		return r.settleDeparted(ctx, request.NamespacedName, "")
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	if !r.lanes.Enter(request, lane.Server(app.TokenServerName())) {
		return ctrl.Result{}, nil // it is woken when its turn comes
	}
	if result, err := r.settleDeparted(ctx, request.NamespacedName, app.UID); err != nil {
		return result, err
	}
	p := &pass{app: app, original: app.DeepCopy(), before: app.DeepCopy().Status.Conditions, leave: leave}
	return r.reconcile(ctx, p)
}

func (r *Reconciler) reconcile(ctx context.Context, p *pass) (ctrl.Result, error) {
	hadFinalizer := controllerutil.ContainsFinalizer(p.app, v1alpha1.Finalizer)
	if !p.app.DeletionTimestamp.IsZero() {
		if !hadFinalizer {
			// Others may keep the object for as long as they like.
			return r.settleDeparted(ctx, client.ObjectKeyFromObject(p.app), "")
		}
	} else if status.MarkProgressing(p.app) {
		if err := r.writeStatus(ctx, p); err != nil {
			return r.after(ctx, object.WriteError("the status", err))
		}
	}
	if err := r.observe(ctx, p, hadFinalizer); err != nil {
		return r.after(ctx, err)
	}
	if err := r.observeRotation(ctx, p); err != nil {
		return r.after(ctx, err)
	}
	p.result = plan.Make(p.in)
	if err := r.settleFinalizer(ctx, p); err != nil {
		return r.after(ctx, object.WriteError("ConnectedApp "+p.app.Name, err))
	}
	if err := r.settleOwner(ctx, p); err != nil {
		return r.after(ctx, err)
	}
	err := r.execute(ctx, p)
	p.unfinished = err != nil
	r.restart(ctx, p)
	if p.app.Status.ClientID != "" && p.app.DeletionTimestamp.IsZero() {
		r.registered.note(p.app, p.result.Verdict != nil && p.result.Verdict.OrphanAllowed)
		if live := p.in.Live; err == nil && live != nil && p.result.CarriesOut && (live.Client == nil || !live.Client.Unread || p.listed) {
			r.registered.compare(p.app, p.in.Now, p.connection.Inventory)
		}
	}
	switch hold := p.result.Hold; {
	case err != nil:
	case hold != nil && hold == p.in.Server.Away && p.unanswered != nil:
		err = p.unanswered // tried again with growing pauses
	default:
		err = errorOf(hold)
	}
	result, err := r.conclude(ctx, p, err)
	return r.sooner(p, result, err)
}

// settleFinalizer goes before whatever is made, so that it will also be deleted,
// and comes back where somebody took it away.
func (r *Reconciler) settleFinalizer(ctx context.Context, p *pass) error {
	makes := slices.ContainsFunc(p.result.Actions, func(a plan.Action) bool {
		return a.Kind == plan.Register || a.Kind == plan.Restore || a.Kind == plan.RegisterAs || a.Kind == plan.Adopt
	})
	if !p.app.DeletionTimestamp.IsZero() || !makes && p.app.Status.ClientID == "" {
		return nil
	}
	_, err := r.objects.AddFinalizer(ctx, p.app)
	return err
}

// conclude writes the status once, tells people what changed and decides when
// to look again.
func (r *Reconciler) conclude(ctx context.Context, p *pass, err error) (ctrl.Result, error) {
	switch {
	case isGone(p):
		return ctrl.Result{}, nil
	case status.IsRace(err):
		// What was recorded so far is kept; nothing is said. Drift has to be, so that
		// the client is looked at again.
		if len(p.result.Drift) > 0 && p.app.Status.Compared != nil {
			p.app.Status.Compared.Revision = ""
		}
		if err := r.writeStatus(ctx, p); err != nil {
			return r.after(ctx, object.WriteError("the status", err))
		}
		return r.after(ctx, err)
	case err == nil && p.in.Live == nil && status.IsReady(p.app):
		// The server's trouble is its TokenServer's condition. This app has what it
		// needs, and only its workloads may have news.
		if err := r.writeRestarts(ctx, p); err != nil {
			return r.after(ctx, object.WriteError("the status", err))
		}
		return ctrl.Result{RequeueAfter: r.pause()}, nil
	}
	p.summarise(err)
	if err := r.writeStatus(ctx, p); err != nil {
		return r.after(ctx, object.WriteError("the status", err))
	}
	r.report(ctx, p)
	return r.after(ctx, err)
}

// isGone tells whether the object was let go.
func isGone(p *pass) bool {
	return !p.app.DeletionTimestamp.IsZero() && !controllerutil.ContainsFinalizer(p.app, v1alpha1.Finalizer)
}

// after says when to look again.
func (r *Reconciler) after(ctx context.Context, err error) (ctrl.Result, error) {
	if e, ok := errors.AsType[*status.Error](err); ok && e.Kind == status.Stalled && e.Cause != nil {
		log.FromContext(ctx).Info("refused", "reason", e.Reason, "cause", e.Cause.Error())
	}
	result, err := status.Result(err)
	if err == nil && result.IsZero() {
		result.RequeueAfter = r.pause()
	}
	return result, err
}

func (r *Reconciler) writeStatus(ctx context.Context, p *pass) error {
	written, err := r.objects.WriteStatus(ctx, p.original, p.app)
	if written && err == nil {
		p.app.DeepCopyInto(p.original)
	}
	return err
}

// objectsOf writes what apps publish, of one kind.
func (r *Reconciler) objectsOf(kind apply.Kind) *apply.Secrets {
	return &apply.Secrets{Kind: kind, Client: r.Client, Live: r.Live, Scheme: r.Client.Scheme(), FieldManager: apply.ManagerConnectedApp}
}

func (r *Reconciler) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

// pause is the time to the next comparison, spread so that apps made together
// do not all come at once.
func (r *Reconciler) pause() time.Duration {
	return r.ResyncInterval - time.Duration(rand.Float64()*0.2*float64(r.ResyncInterval))
}
