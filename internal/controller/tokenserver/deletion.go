// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"context"
	"fmt"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
)

// defaultDeletionTimeout is how long a TokenServer waits for its ConnectedApps
// when the spec does not say.
const defaultDeletionTimeout = 10 * time.Minute

// addFinalizer keeps the object while apps that are being deleted need it to
// log in. The optimistic lock keeps a finalizer that somebody else adds at the
// same time: the list is replaced as a whole.
func (r *Reconciler) addFinalizer(ctx context.Context, server *v1alpha1.TokenServer) error {
	if controllerutil.ContainsFinalizer(server, v1alpha1.Finalizer) {
		return nil
	}
	return r.patchFinalizers(ctx, server, func(o client.Object) { controllerutil.AddFinalizer(o, v1alpha1.Finalizer) })
}

// patchFinalizers leaves the status of server as it is in memory.
func (r *Reconciler) patchFinalizers(ctx context.Context, server *v1alpha1.TokenServer, change func(client.Object)) error {
	changed := server.DeepCopy()
	change(changed)
	lock := client.MergeFromWithOptimisticLock{}
	if err := r.Client.Patch(ctx, changed, client.MergeFromWithOptions(server.DeepCopy(), lock)); err != nil {
		return fmt.Errorf("writing the finalizers: %w", err)
	}
	server.ObjectMeta = changed.ObjectMeta
	return nil
}

// delete lets the object go when no ConnectedApp uses it, or after its timeout:
// deletion always finishes.
func (r *Reconciler) delete(ctx context.Context, original, server *v1alpha1.TokenServer) (ctrl.Result, error) {
	if !controllerutil.ContainsFinalizer(server, v1alpha1.Finalizer) {
		return ctrl.Result{}, nil
	}
	used, err := r.count(ctx, server.Name, func(*v1alpha1.ConnectedApp) bool { return true })
	if err != nil {
		return ctrl.Result{}, err
	}
	left := time.Until(server.DeletionTimestamp.Add(deletionTimeout(server)))
	if used == 0 || left <= 0 {
		r.Connections.Remove(server.Name)
		r.trouble.forget(server.Name)
		err := r.patchFinalizers(ctx, server, func(o client.Object) { controllerutil.RemoveFinalizer(o, v1alpha1.Finalizer) })
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	status.Summarise(server, status.WaitingError(v1alpha1.ReasonInUse, left, "%s", r.stillUsed(ctx, server, used)), "")
	if _, err := status.Patch(ctx, r.Client, original, server); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	return ctrl.Result{RequeueAfter: min(left, r.trouble.delay(server.Name, 10*time.Second))}, nil
}

// stillUsed says what the deletion waits for. The apps need the connection to
// deregister; after a restart it is made here, and when that fails this is the
// one place that can tell why.
func (r *Reconciler) stillUsed(ctx context.Context, server *v1alpha1.TokenServer, used int) string {
	until := server.DeletionTimestamp.Add(deletionTimeout(server)).UTC().Format(time.RFC3339)
	text := fmt.Sprintf("%d ConnectedApps still use it", used)
	if problem := r.connect(ctx, server); problem != nil {
		text += fmt.Sprintf(", and it cannot be used to deregister them: %s", status.As(problem, "", "reading what it is made of failed").Message)
	}
	return text + fmt.Sprintf("; it goes without them at %s (spec.deletionTimeout)", until)
}

// connect probes unless there is a connection.
func (r *Reconciler) connect(ctx context.Context, server *v1alpha1.TokenServer) error {
	if _, ok := r.Connections.Get(server.Name); ok {
		return nil
	}
	return r.probe(ctx, server)
}

func deletionTimeout(server *v1alpha1.TokenServer) time.Duration {
	if d := server.Spec.DeletionTimeout; d != nil {
		return d.Duration
	}
	return defaultDeletionTimeout
}
