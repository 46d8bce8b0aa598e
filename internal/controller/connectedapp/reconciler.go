// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/apply"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/inventory"
)

// Reconciler keeps ConnectedApps as their specs say.
type Reconciler struct {
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
	// Namespace is the manager's own.
	Namespace string
	// Namespaces are those that are served; empty: all.
	Namespaces []string
	// ResyncInterval is how often each client is compared with its spec.
	ResyncInterval time.Duration
	// Concurrency is the number of apps worked on at a time; 0 means 16.
	Concurrency int
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	memory memory
}

// Reconcile does what is pending for one ConnectedApp.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	app, err := r.get(ctx, request.NamespacedName)
	if apierrors.IsNotFound(err) {
		r.memory.forget(request.NamespacedName)
		return ctrl.Result{}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	original := app.DeepCopy()
	switch {
	case !app.DeletionTimestamp.IsZero():
		return r.finalize(ctx, app)
	case app.Suspended():
		status.Suspend(app)
		return ctrl.Result{}, r.writeStatus(ctx, original, app)
	case status.MarkProgressing(app):
		if err := r.writeStatus(ctx, original, app); err != nil {
			return ctrl.Result{}, err
		}
	}
	s := &scope{app: app, wasReady: status.IsReady(original)}
	return r.conclude(ctx, original, s, r.run(ctx, s))
}

// run goes through the phases up to the first that cannot be completed.
func (r *Reconciler) run(ctx context.Context, s *scope) error {
	secrets := r.secrets()
	for _, phase := range []interface {
		reconcile(ctx context.Context, s *scope) error
	}{
		access{client: r.Client, connections: r.Connections},
		references{live: r.Live, secrets: secrets},
		registration{
			memory: &r.memory, addFinalizer: r.addFinalizer, now: r.now(), resync: r.ResyncInterval, clusterID: r.ClusterID,
		},
		credentials{secrets: secrets, now: r.now()},
	} {
		if err := phase.reconcile(ctx, s); err != nil {
			return err
		}
	}
	if s.live != nil {
		r.memory.compared(s.app, r.now(), s.want)
	}
	if s.refusal != nil {
		return s.refusal
	}
	return nil
}

// conclude writes the status once, tells people what changed and decides when
// to look again.
func (r *Reconciler) conclude(ctx context.Context, original *v1alpha1.ConnectedApp, s *scope, err error) (ctrl.Result, error) {
	if s.wasReady && isServerTrouble(err) && s.intact() {
		// The server's trouble is its TokenServer's condition. This app has what
		// it needs.
		return ctrl.Result{RequeueAfter: r.pause()}, nil
	}
	status.Summarise(s.app, err, s.readyMessage())
	if err := r.writeStatus(ctx, original, s.app); err != nil {
		return ctrl.Result{}, err
	}
	r.report(ctx, s, err)
	result, err := status.Result(err)
	if err == nil && result.IsZero() {
		result.RequeueAfter = r.pause()
	}
	return result, err
}

// intact tells whether the app's credentials are in place, as far as can be
// seen without the server.
func (s *scope) intact() bool {
	switch s.app.CredentialsType() {
	case v1alpha1.CredentialsSecret:
		return s.stored != nil
	case v1alpha1.CredentialsExistingSecret:
		return s.existing != nil
	}
	return s.secret != nil
}

func (s *scope) readyMessage() string {
	return fmt.Sprintf("registered as client %s, credentials are in secret %s", s.app.Status.ClientID, s.app.CredentialsSecretName())
}

// get reads the object, from the API server when the cache has not yet seen
// what this process wrote: acting on an older status would repeat what was done.
func (r *Reconciler) get(ctx context.Context, key client.ObjectKey) (*v1alpha1.ConnectedApp, error) {
	app := &v1alpha1.ConnectedApp{}
	err := r.Client.Get(ctx, key, app)
	if err == nil && r.memory.isBehind(app) {
		err = r.Live.Get(ctx, key, app)
	}
	if err != nil {
		if !apierrors.IsNotFound(err) {
			err = fmt.Errorf("reading the ConnectedApp: %w", err)
		}
		return nil, err
	}
	return app, nil
}

func (r *Reconciler) writeStatus(ctx context.Context, original, app *v1alpha1.ConnectedApp) error {
	written, err := status.Patch(ctx, r.Client, original, app)
	if apierrors.IsNotFound(err) {
		return nil // deleted meanwhile
	}
	if written && err == nil {
		r.memory.wrote(app)
		app.DeepCopyInto(original)
	}
	return err
}

func (r *Reconciler) secrets() *apply.Secrets {
	return &apply.Secrets{Client: r.Client, Live: r.Live, Scheme: r.Client.Scheme(), FieldManager: apply.ManagerConnectedApp}
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
