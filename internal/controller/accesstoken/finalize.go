// SPDX-License-Identifier: Apache-2.0

package accesstoken

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/lane"
)

// revokeTimeout bounds the one attempt to revoke: deletion always finishes.
const revokeTimeout = 15 * time.Second

func revokes(token *v1alpha1.AccessToken) bool {
	if token.Spec.DeletionPolicy == "" {
		return token.GrantType() != v1alpha1.AccessTokenRefreshToken
	}
	return token.Spec.DeletionPolicy == v1alpha1.TokenRevoke
}

// settleFinalizer keeps an object that is to be revoked, and no other: on every
// pass, since anybody who may edit the object can take the finalizer away.
func (r *Reconciler) settleFinalizer(ctx context.Context, token *v1alpha1.AccessToken) error {
	what := "the finalizer of AccessToken " + token.Name
	if !revokes(token) {
		return refused(r.Objects.RemoveFinalizer(ctx, token), what)
	}
	_, err := r.Objects.AddFinalizer(ctx, token)
	return refused(err, what)
}

// finalize revokes the token, in one attempt, and lets the object go. Its Secret
// goes with it by the owner reference.
func (r *Reconciler) finalize(ctx context.Context, token *v1alpha1.AccessToken) (ctrl.Result, error) {
	if controllerutil.ContainsFinalizer(token, v1alpha1.Finalizer) && revokes(token) {
		p := newPass(token, r.now())
		err := r.revoke(ctx, p)
		if p.queued {
			return ctrl.Result{}, nil // it is woken when its turn comes
		}
		if err != nil {
			log.FromContext(ctx).Info("the access token was not revoked; it expires by itself", "cause", err.Error())
			r.event(token, corev1.EventTypeWarning, v1alpha1.ReasonRevocationFailed, actionRevoke,
				"the token of Secret %s was not revoked and expires by itself: %v", token.SecretName(), err)
		}
	}
	r.memory.forget(client.ObjectKeyFromObject(token))
	return unwritten(r.Objects.RemoveFinalizer(ctx, token))
}

// revoke does nothing when there is nothing that lives, or the server has no
// revocation endpoint. It has a lane and a breaker of its own: what ends delays
// nothing that lives. Without a turn, queued is set.
func (r *Reconciler) revoke(ctx context.Context, p *pass) error {
	ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
	defer cancel()
	ends, err := r.ends(ctx, p)
	if err != nil || ends == "" {
		return err
	}
	p.app = &v1alpha1.ConnectedApp{}
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: p.token.Namespace, Name: p.token.Spec.ConnectedAppRef.Name}, p.app); err != nil {
		return client.IgnoreNotFound(err) // with the client its tokens ended
	}
	connection, ok := r.Connections.Get(p.app.TokenServerName())
	if !ok {
		return fmt.Errorf("TokenServer %s is not ready", p.app.TokenServerName())
	}
	if connection.Discovery.RevocationEndpoint == "" {
		return nil
	}
	if err := r.readClient(ctx, p); err != nil {
		return err
	}
	p.connection = connection
	credentials, err := p.client()
	if err != nil {
		return err
	}
	own := "revoke/" + p.app.TokenServerName()
	if p.queued = !r.lanes.Enter(ctrl.Request{NamespacedName: p.name()}, lane.Lane{Name: own, Width: revokeWidth}); p.queued {
		return nil
	}
	breaker := r.breakers.of(own)
	if err := breaker.Allow(time.Now()); err != nil {
		return err
	}
	err = connection.Client.Revoke(ctx, ends, credentials.ClientID, credentials.ClientSecret)
	breaker.Record(time.Now(), err)
	return err
}

// ends is what is to be revoked; empty: nothing. With a refresh token all ends that
// came of it, so that it is that one, whatever became of the access token.
func (r *Reconciler) ends(ctx context.Context, p *pass) (string, error) {
	if err := r.readSecretLive(ctx, p); err != nil && !p.looked {
		return "", err
	}
	if err := r.readChain(ctx, p); err != nil {
		return "", err
	}
	if p.chain != nil {
		if link, err := valueOf(p.chain, keyRefreshToken); err == nil {
			return link, nil
		}
	}
	// A server may issue no successor, so that the seed is still the one.
	if p.held != nil && p.token.GrantType() == v1alpha1.AccessTokenRefreshToken && r.readGrant(ctx, p) == nil {
		if seed, err := p.refreshToken(); err == nil {
			return seed, nil
		}
	}
	if !p.valid() {
		return "", nil
	}
	return p.held.AccessToken, nil
}
