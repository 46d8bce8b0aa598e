// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"cmp"
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/inventory"
)

const (
	defaultProbeInterval = time.Minute
	// probeJitter spreads the probes of several servers.
	probeJitter = 0.2
)

// Reconciler probes TokenServers. The exported fields are its dependencies.
type Reconciler struct {
	Client client.Client
	// Live reads from the API server. Credentials need not carry our label, and
	// Secrets without it are in no cache.
	Live client.Reader
	// Namespace is the manager's: where credentials and certificates are.
	Namespace string
	// Connections receives the servers that can be used.
	Connections *inventory.Connections
	Recorder    events.EventRecorder
	// ProbeInterval is the time between two probes of a server that is well; 0
	// means 1 min.
	ProbeInterval time.Duration
	// ProbeTimeout bounds each request of a probe; 0 means 10 s.
	ProbeTimeout time.Duration
	// Bundled says what keeps the bundled token server from working; empty for
	// others. nil: nothing is known.
	Bundled func(*v1alpha1.TokenServer) string

	trouble trouble
}

// +kubebuilder:rbac:groups=connectedapps.dev,resources=tokenservers,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=connectedapps.dev,resources=tokenservers/status,verbs=patch
// +kubebuilder:rbac:groups=connectedapps.dev,resources=connectedapps,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,namespace=connectedapps-system,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile probes one TokenServer and says when to do so again.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	original := &v1alpha1.TokenServer{}
	if err := r.Client.Get(ctx, request.NamespacedName, original); err != nil {
		if apierrors.IsNotFound(err) {
			r.Connections.Remove(request.Name)
			r.trouble.forget(request.Name)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	server := original.DeepCopy()
	if !server.DeletionTimestamp.IsZero() {
		return r.delete(ctx, original, server)
	}
	if err := r.addFinalizer(ctx, server); err != nil {
		return ctrl.Result{}, err
	}
	if status.MarkProgressing(server) {
		if _, err := status.Patch(ctx, r.Client, original, server); err != nil {
			return ctrl.Result{}, err
		}
		original = server.DeepCopy()
	}
	problem := r.probe(ctx, server)
	if ctx.Err() != nil {
		return ctrl.Result{}, ctx.Err()
	}
	return r.finish(ctx, original, server, r.explain(server, problem))
}

// explain adds to a finding what is known of its cause: a bundled server that
// cannot start says nothing itself.
func (r *Reconciler) explain(server *v1alpha1.TokenServer, problem error) error {
	known, ok := errors.AsType[*status.Error](problem)
	if !ok || r.Bundled == nil {
		return problem
	}
	cause := r.Bundled(server)
	if cause == "" {
		return problem
	}
	explained := *known
	explained.Message += "; " + cause
	return &explained
}

// finish writes the status when it changed and schedules the next probe.
func (r *Reconciler) finish(ctx context.Context, original, server *v1alpha1.TokenServer, problem error) (ctrl.Result, error) {
	status.Summarise(server, problem, "the server can be reached and managed")
	changed, err := status.Patch(ctx, r.Client, original, server)
	if err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if changed {
		r.report(ctx, original, server)
	}
	interval := cmp.Or(r.ProbeInterval, defaultProbeInterval)
	if problem == nil {
		r.trouble.forget(server.Name)
		return ctrl.Result{RequeueAfter: wait.Jitter(interval, probeJitter)}, nil
	}
	after := r.trouble.delay(server.Name, interval)
	if known, ok := errors.AsType[*status.Error](problem); ok {
		after = max(after, known.After)
		if known.Cause != nil {
			log.FromContext(ctx).Error(known.Cause, known.Message)
		}
	}
	return ctrl.Result{RequeueAfter: after}, nil
}

// report logs a change and makes an Event of it. Repeated findings make none.
func (r *Reconciler) report(ctx context.Context, original, server *v1alpha1.TokenServer) {
	before, after := status.Get(original, v1alpha1.ConditionReady), status.Get(server, v1alpha1.ConditionReady)
	if before != nil && before.Status == after.Status && before.Reason == after.Reason {
		return
	}
	log.FromContext(ctx).Info("token server probed", "ready", after.Status, "reason", after.Reason, "message", after.Message)
	kind := "Warning"
	if status.IsReady(server) {
		kind = "Normal"
	}
	r.Recorder.Eventf(server, nil, kind, after.Reason, "Probe", "%s", after.Message)
}
