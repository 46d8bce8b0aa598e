// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/apply"
	"connectedapps.dev/operator/internal/controller/object"
	"connectedapps.dev/operator/internal/controller/traced"
)

// SetupWithManager watches TokenServers and what they are made of. Unset
// dependencies are taken from the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if r.Client == nil {
		r.Client = mgr.GetClient()
	}
	if r.Live == nil {
		r.Live = mgr.GetAPIReader()
	}
	if r.Recorder == nil {
		r.Recorder = mgr.GetEventRecorder(apply.ManagerTokenServer)
	}
	if r.Servers == nil {
		r.Servers = &object.Store[*v1alpha1.TokenServer]{
			Client: r.Client, Live: r.Live, New: func() *v1alpha1.TokenServer { return &v1alpha1.TokenServer{} },
			FieldManager: apply.ManagerTokenServer,
		}
	}
	r.wake = make(chan event.GenericEvent, 64)
	r.Losses.probe = r.probeNow
	ours := predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetNamespace() == r.Namespace })
	return ctrl.NewControllerManagedBy(mgr).
		Named("tokenserver").
		// The status is our own writing.
		For(&v1alpha1.TokenServer{}, builder.WithPredicates(
			predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.usersOf(usesSecret)), builder.WithPredicates(ours)).
		WatchesMetadata(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(r.usersOf(usesConfigMap)), builder.WithPredicates(ours)).
		Watches(&v1alpha1.ConnectedApp{}, handler.EnqueueRequestsFromMapFunc(r.deletedServerOf), builder.WithPredicates(deletions())).
		WatchesRawSource(r.Tombstones.Watch(countLater)).
		WatchesRawSource(source.Channel(r.wake, &handler.EnqueueRequestForObject{})).
		// One server that does not answer must not keep others waiting.
		WithOptions(controller.Options{MaxConcurrentReconciles: 4}).
		Complete(traced.Reconciler(r.Tracing, "TokenServer", r))
}

// countPause lets many tombstones that come or go together cost few probes.
const countPause = time.Second

func countLater(tokenServer string, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	queue.AddAfter(reconcile.Request{NamespacedName: client.ObjectKey{Name: tokenServer}}, countPause)
}

func usesSecret(server *v1alpha1.TokenServer, name string) bool {
	reference := server.Spec.Credentials.SecretRef
	return reference != nil && reference.Name == name
}

func usesConfigMap(server *v1alpha1.TokenServer, name string) bool {
	return server.Spec.CABundle != nil && server.Spec.CABundle.ConfigMapRef.Name == name
}

// usersOf maps a Secret or ConfigMap to the TokenServers that are made of it.
func (r *Reconciler) usersOf(uses func(*v1alpha1.TokenServer, string) bool) handler.MapFunc {
	return func(ctx context.Context, o client.Object) []reconcile.Request {
		servers := &v1alpha1.TokenServerList{}
		if err := r.Client.List(ctx, servers, client.UnsafeDisableDeepCopy); err != nil {
			return nil // the next probe sees it
		}
		var requests []reconcile.Request
		for i := range servers.Items {
			if uses(&servers.Items[i], o.GetName()) {
				requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&servers.Items[i])})
			}
		}
		return requests
	}
}

// deletedServerOf maps an app that goes to the TokenServer that waits for it.
func (r *Reconciler) deletedServerOf(ctx context.Context, o client.Object) []reconcile.Request {
	app, ok := o.(*v1alpha1.ConnectedApp)
	if !ok {
		return nil
	}
	server := &v1alpha1.TokenServer{}
	key := client.ObjectKey{Name: app.TokenServerName()}
	if err := r.Client.Get(ctx, key, server); err != nil || server.DeletionTimestamp.IsZero() {
		return nil
	}
	return []reconcile.Request{{NamespacedName: key}}
}

// deletions are those that begin as well as those that are done.
func deletions() predicate.Funcs {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return e.ObjectOld.GetDeletionTimestamp().IsZero() && !e.ObjectNew.GetDeletionTimestamp().IsZero()
		},
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}
