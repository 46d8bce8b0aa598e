// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/apply"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/controller/tombstone"
	"connectedapps.dev/operator/internal/plan"
)

const (
	defaultDeletionTimeout = 10 * time.Minute
	// deletionRetry is the pause between attempts at a deletion that does not
	// get through; the server's recovery ends it early.
	deletionRetry = 15 * time.Second
)

// finalize deletes what was made for the app, or lets it go, and then the
// finalizer. It finishes: a client whose server does not answer in time is
// remembered, and deleted when the server is back.
func (r *Reconciler) finalize(ctx context.Context, app *v1alpha1.ConnectedApp) (ctrl.Result, error) {
	if !controllerutil.ContainsFinalizer(app, v1alpha1.Finalizer) {
		return ctrl.Result{}, nil
	}
	if app.Spec.DeletionPolicy == v1alpha1.DeletionOrphan {
		if err := r.release(ctx, app); err != nil {
			return ctrl.Result{}, err
		}
		return ctrl.Result{}, r.removeFinalizer(ctx, app)
	}
	timeout, err := r.deleteClient(ctx, app)
	if err != nil {
		if left := timeout - r.now().Sub(app.DeletionTimestamp.Time); left > 0 {
			return r.waitToDelete(ctx, app, err, left)
		}
		if err := r.Tombstones.Remember(ctx, app.UID, r.client(app)); err != nil {
			return ctrl.Result{}, err
		}
		r.event(app, corev1.EventTypeWarning, eventClientRemembered, actionDelete,
			"the token server did not answer within %s; client %s is deleted when it is back", timeout, app.Status.ClientID)
	}
	if err := r.deleteSecret(ctx, app); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{}, r.removeFinalizer(ctx, app)
}

// deleteClient deletes the client. When it fails it also returns how long it may
// go on failing.
func (r *Reconciler) deleteClient(ctx context.Context, app *v1alpha1.ConnectedApp) (time.Duration, error) {
	timeout := defaultDeletionTimeout
	server := &v1alpha1.TokenServer{}
	err := r.Client.Get(ctx, client.ObjectKey{Name: app.TokenServerName()}, server)
	if err != nil && !apierrors.IsNotFound(err) {
		return timeout, fmt.Errorf("reading the TokenServer: %w", err)
	}
	if server.Spec.DeletionTimeout != nil {
		timeout = server.Spec.DeletionTimeout.Duration
	}
	connection, ok := r.Connections.Get(app.TokenServerName())
	if !ok {
		if server.Name == "" {
			return timeout, errNoServer(app.TokenServerName())
		}
		return timeout, errNoConnection(server)
	}
	return timeout, remoteError(tombstone.Delete(ctx, connection, r.client(app)))
}

// client is what the app has on its token server, and what proves it.
func (r *Reconciler) client(app *v1alpha1.ConnectedApp) tombstone.Client {
	return tombstone.Client{
		TokenServer: app.TokenServerName(), ExternalID: externalID(r.ClusterID, app),
		ClientID: app.Status.ClientID, ClientName: plan.Desired(app, nil).Name,
	}
}

// waitToDelete says why the object is still there.
func (r *Reconciler) waitToDelete(ctx context.Context, app *v1alpha1.ConnectedApp, cause error, left time.Duration) (ctrl.Result, error) {
	original := app.DeepCopy()
	e := status.As(cause, v1alpha1.ReasonDeleting, "deleting the client failed, trying again")
	status.False(app, v1alpha1.ConditionReady, v1alpha1.ReasonDeleting, e.Message)
	status.True(app, v1alpha1.ConditionReconciling, v1alpha1.ReasonDeleting, e.Message)
	status.Remove(app, v1alpha1.ConditionStalled)
	if err := r.writeStatus(ctx, original, app); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: min(left, deletionRetry)}, nil
}

// release lets the Secret stay when the object goes.
func (r *Reconciler) release(ctx context.Context, app *v1alpha1.ConnectedApp) error {
	return r.withSecret(ctx, app, r.secrets().Release)
}

func (r *Reconciler) deleteSecret(ctx context.Context, app *v1alpha1.ConnectedApp) error {
	return r.withSecret(ctx, app, r.secrets().Delete)
}

// withSecret does something to the app's Secret when there is one of ours.
func (r *Reconciler) withSecret(ctx context.Context, app *v1alpha1.ConnectedApp, do func(context.Context, client.Object, *corev1.Secret) error) error {
	if app.Status.Binding == nil {
		app.Status.Binding = &v1alpha1.SecretBinding{Name: app.CredentialsSecretName()}
	}
	secret, err := r.secrets().GetLive(ctx, app, app.Status.Binding.Name)
	if errors.Is(err, apply.ErrNotOurs) || err == nil && secret == nil {
		return nil
	}
	if err != nil {
		return err
	}
	return do(ctx, app, secret)
}

// addFinalizer makes sure that the app has the finalizer, and tells whether it
// had to. The lock is there because a merge patch replaces the whole list: two
// writers must not remove each other's entries.
func (r *Reconciler) addFinalizer(ctx context.Context, app *v1alpha1.ConnectedApp) (bool, error) {
	changed := app.DeepCopy()
	if !controllerutil.AddFinalizer(changed, v1alpha1.Finalizer) {
		return false, nil
	}
	if err := r.patchFinalizers(ctx, app, changed); err != nil {
		return false, fmt.Errorf("adding the finalizer: %w", err)
	}
	app.Finalizers, app.ResourceVersion = changed.Finalizers, changed.ResourceVersion
	return true, nil
}

func (r *Reconciler) removeFinalizer(ctx context.Context, app *v1alpha1.ConnectedApp) error {
	changed := app.DeepCopy()
	controllerutil.RemoveFinalizer(changed, v1alpha1.Finalizer)
	err := r.patchFinalizers(ctx, app, changed)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("removing the finalizer: %w", err)
	}
	return nil
}

func (r *Reconciler) patchFinalizers(ctx context.Context, app, changed *v1alpha1.ConnectedApp) error {
	err := r.Client.Patch(ctx, changed, client.MergeFromWithOptions(app, client.MergeFromWithOptimisticLock{}))
	if err == nil {
		r.memory.wrote(changed)
	}
	return err
}
