// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/lane"
	"connectedapps.dev/operator/internal/controller/object"
	"connectedapps.dev/operator/internal/controller/traced"
)

// Indexes of ConnectedApps.
const (
	indexTokenServer = "tokenServer"
	indexConfigMap   = "publicKeyConfigMap"
)

const (
	// workers are enough for several token servers that hang at a time: each holds
	// no more than its lane.
	workers      = 8 * lane.Width
	firstRetry   = 200 * time.Millisecond
	longestRetry = 2 * time.Minute
)

// SetupWithManager registers the controller: which objects wake which apps.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if err := addIndexes(mgr.GetFieldIndexer()); err != nil {
		return err
	}
	r.doubted = make(chan event.GenericEvent, 64)
	recovered := make(chan event.GenericEvent, 64)
	r.Connections.OnChange(func(name string) {
		server := &v1alpha1.TokenServer{}
		server.Name = name
		select {
		case recovered <- event.GenericEvent{Object: server}:
		default: // the apps look again by themselves
		}
	})
	toApps := handler.EnqueueRequestsFromMapFunc
	err := ctrl.NewControllerManagedBy(mgr).Named("connectedapp").
		For(&v1alpha1.ConnectedApp{}, builder.WithPredicates(predicate.Or(
			predicate.GenerationChangedPredicate{}, finalizerRemoved(), adoptionAsked(), rotationRequested()))).
		Owns(&corev1.Secret{}, builder.OnlyMetadata).
		Owns(&corev1.ConfigMap{}, builder.OnlyMetadata).
		WatchesMetadata(&corev1.Secret{}, toApps(r.appsNamingSecret), builder.WithPredicates(readOrReleased())).
		Watches(&v1alpha1.TokenServer{}, toApps(r.appsOfServer), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesMetadata(&corev1.ConfigMap{}, toApps(r.appsReadingConfigMap)).
		WatchesMetadata(&corev1.ConfigMap{}, toApps(r.appsNamingSecret), builder.WithPredicates(released())).
		WatchesMetadata(&corev1.Namespace{}, toApps(r.appsInNamespace),
			builder.WithPredicates(predicate.LabelChangedPredicate{}, predicate.NewPredicateFuncs(r.isServed))).
		WatchesRawSource(source.Channel(recovered, toApps(r.appsOfServer))).
		WatchesRawSource(source.Channel(r.doubted, &handler.EnqueueRequestForObject{})).
		WatchesRawSource(source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
			r.lanes.Wake = queue.Add
			return nil
		})).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: workers,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstRetry, longestRetry),
		}).
		Complete(traced.Reconciler(r.Tracing, "ConnectedApp", r))
	if err != nil {
		return fmt.Errorf("setting up the ConnectedApp controller: %w", err)
	}
	return nil
}

func addIndexes(indexer client.FieldIndexer) error {
	for name, values := range map[string]func(*v1alpha1.ConnectedApp) []string{
		indexTokenServer: func(app *v1alpha1.ConnectedApp) []string { return []string{app.TokenServerName()} },
		indexConfigMap:   configMapNames,
	} {
		extract := func(o client.Object) []string { return values(o.(*v1alpha1.ConnectedApp)) }
		if err := indexer.IndexField(context.Background(), &v1alpha1.ConnectedApp{}, name, extract); err != nil {
			return fmt.Errorf("indexing ConnectedApps by %s: %w", name, err)
		}
	}
	return nil
}

func configMapNames(app *v1alpha1.ConnectedApp) []string {
	var names []string
	for _, key := range app.Spec.PublicKeys {
		if key.ConfigMapRef != nil {
			names = append(names, key.ConfigMapRef.Name)
		}
	}
	return names
}

// isServed tells whether a namespace is one whose apps are in the cache.
func (r *Reconciler) isServed(o client.Object) bool {
	return len(r.Namespaces) == 0 || slices.Contains(r.Namespaces, o.GetName())
}

// finalizerRemoved passes on that somebody took our finalizer from an object that
// is to stay.
func finalizerRemoved() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false }, DeleteFunc: func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return controllerutil.ContainsFinalizer(e.ObjectOld, v1alpha1.Finalizer) &&
				!controllerutil.ContainsFinalizer(e.ObjectNew, v1alpha1.Finalizer) && e.ObjectNew.GetDeletionTimestamp().IsZero()
		},
	}
}

// adoptionAsked passes on that another client is to be adopted, or none.
func adoptionAsked() predicate.Predicate {
	asked := func(o client.Object) string { return o.GetAnnotations()[v1alpha1.AnnotationAdoptClientID] }
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false }, DeleteFunc: func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc:  func(e event.UpdateEvent) bool { return asked(e.ObjectOld) != asked(e.ObjectNew) },
	}
}

// rotationRequested passes on that somebody asks for another client secret.
func rotationRequested() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false }, DeleteFunc: func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			asked := e.ObjectNew.GetAnnotations()[v1alpha1.AnnotationRotateRequestedAt]
			return asked != "" && asked != e.ObjectOld.GetAnnotations()[v1alpha1.AnnotationRotateRequestedAt]
		},
	}
}

// readOrReleased passes on what happens to Secrets that we read, and that a name
// has become free.
func readOrReleased() predicate.Predicate {
	isReferenced := predicate.NewPredicateFuncs(func(o client.Object) bool {
		return o.GetLabels()[v1alpha1.LabelSecret] == v1alpha1.SecretReferenced
	})
	return predicate.Or(isReferenced, released())
}

// released passes on that a name has become free.
func released() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false }, UpdateFunc: func(event.UpdateEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// appsNamingSecret are the apps of which a Secret, or a ConfigMap, has the name that
// theirs is to have.
func (r *Reconciler) appsNamingSecret(ctx context.Context, o client.Object) []reconcile.Request {
	keys, err := object.AppsBySecret(ctx, r.Client, client.ObjectKeyFromObject(o))
	if err != nil {
		log.FromContext(ctx).Error(err, "looking for ConnectedApps of a Secret")
	}
	requests := make([]reconcile.Request, len(keys))
	for i, key := range keys {
		requests[i].NamespacedName = key
	}
	return requests
}

func (r *Reconciler) appsReadingConfigMap(ctx context.Context, o client.Object) []reconcile.Request {
	return r.apps(ctx, client.InNamespace(o.GetNamespace()), client.MatchingFields{indexConfigMap: o.GetName()})
}

func (r *Reconciler) appsOfServer(ctx context.Context, o client.Object) []reconcile.Request {
	return r.apps(ctx, client.MatchingFields{indexTokenServer: o.GetName()})
}

func (r *Reconciler) appsInNamespace(ctx context.Context, o client.Object) []reconcile.Request {
	return r.apps(ctx, client.InNamespace(o.GetName()))
}

func (r *Reconciler) apps(ctx context.Context, options ...client.ListOption) []reconcile.Request {
	var list v1alpha1.ConnectedAppList
	if err := r.Client.List(ctx, &list, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		log.FromContext(ctx).Error(err, "listing ConnectedApps")
		return nil
	}
	requests := make([]reconcile.Request, len(list.Items))
	for i := range list.Items {
		requests[i].NamespacedName = types.NamespacedName{Namespace: list.Items[i].Namespace, Name: list.Items[i].Name}
	}
	return requests
}
