// SPDX-License-Identifier: Apache-2.0

package tombstone

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/traced"
)

// workers is how many clients are deleted at a time.
const workers = 8

// SetupWithManager registers the controller and the metric, both for the leader
// alone. Events is taken from the manager when it is not set.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if r.Events == nil {
		r.Events = mgr.GetEventRecorder("connectedapps-tombstone")
	}
	r.pauses = workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstRetry, longestRetry)
	connected := make(chan event.GenericEvent, 64)
	r.Connections.OnChange(func(name string) {
		server := &v1alpha1.TokenServer{}
		server.Name = name
		select {
		case connected <- event.GenericEvent{Object: server}:
		default: // tombstones look again by themselves
		}
	})
	err := ctrl.NewControllerManagedBy(mgr).Named("tombstone").
		WatchesRawSource(source.Kind(r.Store.cache, &corev1.ConfigMap{}, &handler.TypedEnqueueRequestForObject[*corev1.ConfigMap]{})).
		WatchesRawSource(source.Channel(connected, handler.EnqueueRequestsFromMapFunc(r.tombstonesOf))).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(traced.Reconciler(r.Tracing, "tombstone", r))
	if err != nil {
		return fmt.Errorf("setting up the controller of tombstones: %w", err)
	}
	return mgr.Add(manager.RunnableFunc(r.Store.exportMetrics))
}

// tombstonesOf are the tombstones of a TokenServer that can be used again.
func (r *Reconciler) tombstonesOf(ctx context.Context, server client.Object) []reconcile.Request {
	list, err := r.Store.list(ctx, client.MatchingFields{indexTokenServer: server.GetName()})
	if err != nil {
		log.FromContext(ctx).Error(err, "waking the tombstones of a TokenServer", "tokenServer", server.GetName())
	}
	requests := make([]reconcile.Request, len(list))
	for i := range list {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&list[i])
	}
	return requests
}

// Watch is a source that names the TokenServer of each tombstone that comes or
// goes, to a handler that gets the tombstone.
func (s *Store) Watch(enqueue func(tokenServer string, queue workqueue.TypedRateLimitingInterface[reconcile.Request])) source.Source {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	return source.Kind(s.cache, &corev1.ConfigMap{}, handler.TypedFuncs[*corev1.ConfigMap, reconcile.Request]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[*corev1.ConfigMap], q queue) {
			enqueue(tokenServerOf(e.Object), q)
		},
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[*corev1.ConfigMap], q queue) {
			enqueue(tokenServerOf(e.Object), q)
		},
	})
}
