// SPDX-License-Identifier: Apache-2.0

package tombstone

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"connectedapps.dev/operator/internal/controller/identity"
	"connectedapps.dev/operator/internal/controller/ownership"
	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/registrar"
	"connectedapps.dev/operator/internal/tracing"
)

const (
	firstRetry   = time.Second
	longestRetry = 5 * time.Minute
	// attempt bounds one try, so that a server that hangs keeps no worker.
	attempt = 30 * time.Second
)

// Reasons of Events.
const (
	// eventClientKept: the remembered client of a ConnectedApp that is gone cannot be
	// deleted; the message says why.
	//
	//   - ConfigMap Events: Mend what the message says, or delete the ConfigMap to leave
	//     the client as it is.
	eventClientKept = "ClientKept"
)

// Reconciler deletes remembered clients.
type Reconciler struct {
	// Tracing makes a span of each pass; nil: none are made.
	Tracing *tracing.Tracing
	// Store is where they are remembered.
	Store *Store
	// Connections are the token servers that can be used.
	Connections *inventory.Connections
	// Owners tells which clients are another object's by now.
	Owners *ownership.Records
	// Events tells why a client cannot be deleted.
	Events events.EventRecorder

	pauses workqueue.TypedRateLimiter[reconcile.Request]
	told   told
}

// Reconcile deletes one remembered client, and its tombstone then.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	object := &corev1.ConfigMap{}
	if err := r.Store.cache.Get(ctx, request.NamespacedName, object); err != nil {
		r.forget(request)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	remembered := decode(object.Data)
	server, ok := r.Connections.Get(remembered.TokenServer)
	if !ok {
		// Its connection wakes this; the pause is for a wake that was lost.
		return ctrl.Result{RequeueAfter: longestRetry}, nil
	}
	if err := r.delete(ctx, server, remembered); err != nil {
		return r.later(ctx, request, object, err)
	}
	if err := r.Store.client.Delete(ctx, object, client.Preconditions{UID: &object.UID}); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return ctrl.Result{}, fmt.Errorf("deleting tombstone %s: %w", object.Name, err)
	}
	r.forget(request)
	log.FromContext(ctx).Info("deleted a remembered client", "client", remembered.ClientID, "tokenServer", remembered.TokenServer)
	return ctrl.Result{}, nil
}

func (r *Reconciler) delete(ctx context.Context, server *inventory.Connection, c Client) error {
	if changes := c.Server.Changes(identityOf(server)); len(changes) > 0 {
		return fmt.Errorf("it was registered on another server than the one behind TokenServer %s now (%s): %w",
			c.TokenServer, strings.Join(changes, ", "), ErrNotProven)
	}
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	return deleteClient(ctx, server, r.Owners, c)
}

func identityOf(server *inventory.Connection) identity.Identity {
	return identity.Identity{Issuer: server.Issuer, OrganizationID: server.OrganizationID, InstallationID: server.Discovery.InstallationID}
}

// later tries again after a pause that grows. Trouble of the server as a whole is
// its TokenServer's to tell.
func (r *Reconciler) later(ctx context.Context, request ctrl.Request, object *corev1.ConfigMap, cause error) (ctrl.Result, error) {
	if ctx.Err() != nil {
		return ctrl.Result{}, ctx.Err()
	}
	pause := max(r.pauses.When(request), registrar.RetryAfter(cause))
	if errors.Is(cause, ErrNotProven) {
		pause = longestRetry
	}
	if !registrar.IsUnavailable(cause) && r.told.isNew(request, cause.Error()) {
		log.FromContext(ctx).Error(cause, "a remembered client cannot be deleted", "client", object.Data[keyClientID])
		r.Events.Eventf(object, nil, corev1.EventTypeWarning, eventClientKept, "Delete",
			"client %s of TokenServer %s, whose ConnectedApp is gone, cannot be deleted: %v; delete this ConfigMap to leave the client as it is",
			object.Data[keyClientID], object.Data[keyTokenServer], cause)
	}
	return ctrl.Result{RequeueAfter: pause}, nil
}

func (r *Reconciler) forget(request ctrl.Request) {
	r.pauses.Forget(request)
	r.told.forget(request)
}

// told keeps what was said last of each tombstone, to say it once.
type told struct {
	mu    sync.Mutex
	texts map[reconcile.Request]string
}

func (t *told) isNew(request reconcile.Request, text string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.texts == nil {
		t.texts = map[reconcile.Request]string{}
	}
	before, ok := t.texts[request]
	t.texts[request] = text
	return !ok || before != text
}

func (t *told) forget(request reconcile.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.texts, request)
}
