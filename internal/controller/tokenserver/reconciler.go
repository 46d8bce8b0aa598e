// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/identity"
	"connectedapps.dev/operator/internal/controller/metrics"
	"connectedapps.dev/operator/internal/controller/object"
	"connectedapps.dev/operator/internal/controller/ownership"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/controller/tombstone"
	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/tracing"
)

const (
	defaultProbeInterval = time.Minute
	// probeJitter spreads the probes of several servers.
	probeJitter = 0.2
	// soon is the pause while a probe finds the server well and the apps are not:
	// calls for them fail, or lost clients are being registered anew. What was
	// accepted of losses is to end with them, not to cover the next.
	soon = 10 * time.Second
)

// Reconciler probes TokenServers. The exported fields are its dependencies.
type Reconciler struct {
	// Tracing makes a span of each pass; nil: none are made.
	Tracing *tracing.Tracing
	Client  client.Client
	// Live reads from the API server. Credentials need not carry our label, and
	// Secrets without it are in no cache.
	Live client.Reader
	// Namespace is the manager's: where credentials and certificates are.
	Namespace string
	// OwnTokens are those of the manager's ServiceAccount.
	OwnTokens *OwnTokens
	// Connections receives the servers that can be used.
	Connections *inventory.Connections
	// Identities remembers which server each TokenServer stands for.
	Identities *identity.Records
	// Losses is asked, by others too, about clients that are gone.
	Losses *Losses
	// Tombstones counts the clients that are still to be deleted.
	Tombstones *tombstone.Store
	// Owners remembers whose a client is where no mark on its server tells.
	Owners *ownership.Records
	// ClusterID tells this cluster's clients from those of others on the same
	// server; empty: clients without an object are not looked for.
	ClusterID string
	// Namespaces are those that are served; empty: all.
	Namespaces []string
	// ResyncInterval is how old the list may be that tells which clients have no
	// object.
	ResyncInterval time.Duration
	// Servers is made in SetupWithManager when it is nil.
	Servers  *object.Store[*v1alpha1.TokenServer]
	Recorder events.EventRecorder
	// ProbeInterval is the time between two probes of a server that is well; 0
	// means 1 min.
	ProbeInterval time.Duration
	// ProbeTimeout bounds each request of a probe; 0 means 15 s.
	ProbeTimeout time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Bundled says what keeps the bundled token server from working; empty for
	// others. nil: nothing is known.
	Bundled func(*v1alpha1.TokenServer) string

	memory memory
	wake   chan event.GenericEvent
}

// Reconcile probes one TokenServer and says when to do so again.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	server, err := r.Servers.Get(ctx, request.NamespacedName)
	if apierrors.IsNotFound(err) {
		r.forget(request.Name)
		return ctrl.Result{}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	result, err := r.reconcile(ctx, server)
	if err = object.WriteError("TokenServer "+server.Name, err); status.IsRace(err) {
		return status.Result(err)
	}
	return result, err
}

func (r *Reconciler) reconcile(ctx context.Context, server *v1alpha1.TokenServer) (ctrl.Result, error) {
	original := server.DeepCopy()
	if !server.DeletionTimestamp.IsZero() {
		return r.delete(ctx, original, server)
	}
	if _, err := r.Servers.AddFinalizer(ctx, server); err != nil {
		return ctrl.Result{}, err
	}
	if err := r.recall(ctx, server); err != nil {
		return ctrl.Result{}, err
	}
	if status.MarkProgressing(server) {
		if _, err := r.Servers.WriteStatus(ctx, original, server); err != nil {
			return ctrl.Result{}, err
		}
		original = server.DeepCopy()
	}
	problem := r.probe(ctx, server)
	if ctx.Err() != nil {
		return ctrl.Result{}, ctx.Err()
	}
	if problem == nil {
		r.noteOrphans(ctx, server)
	}
	problem = r.explain(server, problem)
	if status.IsRace(problem) {
		return ctrl.Result{}, problem
	}
	if err := r.write(ctx, original, server, problem, r.readyMessage(ctx, server)); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: r.pause(ctx, server.Name, problem)}, nil
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

// readyMessage is what Ready says of a server that is well.
func (r *Reconciler) readyMessage(ctx context.Context, server *v1alpha1.TokenServer) string {
	message := "the server can be reached and managed"
	if err := r.trouble(server.Name); err != nil {
		message += fmt.Sprintf(", but calls for ConnectedApps fail (%v)", err)
	}
	if n, err := r.Tombstones.Count(ctx, server.Name); err == nil && n > 0 {
		message += "; clients of ConnectedApps that are gone are still to be deleted on it (status.rememberedClients)"
	}
	return message
}

// trouble is why calls for apps fail at present, which a probe need not meet.
func (r *Reconciler) trouble(name string) error {
	connection, ok := r.Connections.Get(name)
	if !ok {
		return nil
	}
	return connection.Trouble()
}

// write writes the status when it changed, and tells people.
func (r *Reconciler) write(ctx context.Context, original, server *v1alpha1.TokenServer, outcome error, ready string) error {
	if n, err := r.Tombstones.Count(ctx, server.Name); err == nil {
		server.Status.RememberedClients = int32(n)
	}
	status.Summarise(server, outcome, ready)
	before := original.DeepCopy()
	changed, err := r.Servers.WriteStatus(ctx, original, server)
	if err != nil {
		return err
	}
	if changed {
		r.report(ctx, before, server)
	}
	return nil
}

// pause is the time to the next probe.
func (r *Reconciler) pause(ctx context.Context, name string, problem error) time.Duration {
	interval := cmp.Or(r.ProbeInterval, defaultProbeInterval)
	if problem == nil {
		r.memory.succeeded(name)
		if r.trouble(name) != nil || r.memory.isHealing(name) {
			interval = min(interval, soon)
		}
		return wait.Jitter(interval, probeJitter)
	}
	after := r.memory.delay(name, interval)
	if known, ok := errors.AsType[*status.Error](problem); ok {
		after = max(after, known.After)
		if known.Cause != nil {
			log.FromContext(ctx).Error(known.Cause, known.Message)
		}
	}
	return after
}

// probeNow asks for a probe without waiting for it. One that is lost is made up
// for by the next that is due.
func (r *Reconciler) probeNow(name string) {
	server := &v1alpha1.TokenServer{}
	server.Name = name
	select {
	case r.wake <- event.GenericEvent{Object: server}:
	default:
	}
}

// forget is for a name without an object.
func (r *Reconciler) forget(name string) {
	r.Connections.Remove(name)
	r.memory.forget(name)
	r.Losses.forget(name)
	metrics.Forget(name)
}

func (r *Reconciler) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}
