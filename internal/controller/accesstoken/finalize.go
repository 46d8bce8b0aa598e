// SPDX-License-Identifier: Apache-2.0

package accesstoken

import (
	"context"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"connectedapps.dev/operator/api/v1alpha1"
)

// revokeTimeout bounds the one attempt to revoke: deletion always finishes.
const revokeTimeout = 15 * time.Second

func revokes(token *v1alpha1.AccessToken) bool {
	return token.Spec.DeletionPolicy != v1alpha1.TokenRetain
}

// settleFinalizer keeps an object that is to be revoked, and no other.
func (r *Reconciler) settleFinalizer(ctx context.Context, token *v1alpha1.AccessToken) error {
	if revokes(token) == controllerutil.ContainsFinalizer(token, v1alpha1.Finalizer) {
		return nil
	}
	return r.patchFinalizers(ctx, token, func(o client.Object) {
		if revokes(token) {
			controllerutil.AddFinalizer(o, v1alpha1.Finalizer)
			return
		}
		controllerutil.RemoveFinalizer(o, v1alpha1.Finalizer)
	})
}

// patchFinalizers carries the resource version, since the list of finalizers is
// replaced as a whole: one that somebody adds at the same time must not be lost.
func (r *Reconciler) patchFinalizers(ctx context.Context, token *v1alpha1.AccessToken, change func(client.Object)) error {
	changed := token.DeepCopy()
	change(changed)
	lock := client.MergeFromWithOptimisticLock{}
	if err := r.Client.Patch(ctx, changed, client.MergeFromWithOptions(token.DeepCopy(), lock)); err != nil {
		return fmt.Errorf("writing the finalizers: %w", err)
	}
	token.ObjectMeta = changed.ObjectMeta
	return nil
}

// finalize revokes the token, in one attempt, and lets the object go. Its Secret
// goes with it by the owner reference.
func (r *Reconciler) finalize(ctx context.Context, token *v1alpha1.AccessToken) error {
	r.failures.forget(token.UID)
	if !controllerutil.ContainsFinalizer(token, v1alpha1.Finalizer) {
		return nil
	}
	if revokes(token) {
		if err := r.revoke(ctx, &scope{token: token, now: r.now()}); err != nil {
			log.FromContext(ctx).Info("the access token was not revoked; it expires by itself", "cause", err.Error())
			r.Recorder.Eventf(token, nil, "Warning", v1alpha1.ReasonRevocationFailed, "Revoke", "the token expires by itself: %v", err)
		}
	}
	err := r.patchFinalizers(ctx, token, func(o client.Object) { controllerutil.RemoveFinalizer(o, v1alpha1.Finalizer) })
	return client.IgnoreNotFound(err)
}

// revoke does nothing when there is no valid token, or the server has no
// revocation endpoint.
func (r *Reconciler) revoke(ctx context.Context, s *scope) error {
	ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
	defer cancel()
	if err := r.readSecretLive(ctx, s); err != nil || !s.valid() {
		return nil // nothing of ours to revoke
	}
	app := &v1alpha1.ConnectedApp{}
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: s.token.Namespace, Name: s.token.Spec.ConnectedAppRef.Name}, app); err != nil {
		return client.IgnoreNotFound(err) // with the client its tokens ended
	}
	s.app = app
	connection, ok := r.Connections.Get(app.TokenServerName())
	if !ok {
		return fmt.Errorf("the TokenServer is not ready")
	}
	if connection.Discovery.RevocationEndpoint == "" {
		return nil
	}
	if err := r.readCredentials(ctx, s); err != nil {
		return err
	}
	credentials, err := r.credentials(s)
	if err != nil {
		return err
	}
	return connection.Client.Revoke(ctx, s.held.AccessToken, credentials.ClientID, credentials.ClientSecret)
}
