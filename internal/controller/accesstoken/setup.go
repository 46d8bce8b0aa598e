// SPDX-License-Identifier: Apache-2.0

package accesstoken

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
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

// appIndex finds AccessTokens by the name of their app, grantIndex by that of the
// Secret that their grant names.
const (
	appIndex   = "accesstoken.app"
	grantIndex = "accesstoken.grant"
)

// SetupWithManager watches AccessTokens, their Secrets, the ConnectedApps they
// belong to and the Secrets of those. Unset dependencies are taken from the manager. The queue is
// this controller's own, so that a backlog of registrations delays no refresh.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if r.Client == nil {
		r.Client = mgr.GetClient()
	}
	if r.Live == nil {
		r.Live = mgr.GetAPIReader()
	}
	if r.Secrets == nil {
		r.Secrets = &apply.Secrets{Client: r.Client, Live: r.Live, Scheme: mgr.GetScheme(), FieldManager: apply.ManagerAccessToken}
	}
	if r.Objects == nil {
		r.Objects = &object.Store[*v1alpha1.AccessToken]{
			Client: r.Client, Live: r.Live, New: func() *v1alpha1.AccessToken { return &v1alpha1.AccessToken{} },
			FieldManager: apply.ManagerAccessToken,
		}
	}
	if r.Recorder == nil {
		r.Recorder = mgr.GetEventRecorder(apply.ManagerAccessToken)
	}
	if err := addIndexes(mgr.GetFieldIndexer()); err != nil {
		return err
	}
	recovered := make(chan event.GenericEvent, 64)
	r.Connections.OnChange(func(name string) {
		server := &v1alpha1.TokenServer{}
		server.Name = name
		select {
		case recovered <- event.GenericEvent{Object: server}:
		default: // tokens are tried again by themselves
		}
	})
	steps := make(chan event.GenericEvent)
	if err := mgr.Add(clockWatch(steps)); err != nil {
		return fmt.Errorf("watching the clock: %w", err)
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("accesstoken").
		For(&v1alpha1.AccessToken{}, builder.WithPredicates(
			predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, finalizerLost))).
		Owns(&corev1.Secret{}, builder.OnlyMetadata).
		Watches(&v1alpha1.ConnectedApp{}, handler.EnqueueRequestsFromMapFunc(r.tokensOf)).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.tokensOfCredentials)).
		WatchesRawSource(source.Channel(recovered, handler.EnqueueRequestsFromMapFunc(r.tokensOfServer))).
		WatchesRawSource(source.Channel(steps, handler.EnqueueRequestsFromMapFunc(r.allTokens))).
		WatchesRawSource(source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
			r.lanes.Wake = queue.Add
			return nil
		})).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: workers,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](200*time.Millisecond, time.Minute),
		}).
		Complete(traced.Reconciler(r.Tracing, "AccessToken", r))
}

// finalizerLost lets a change through that leaves an object without our
// finalizer. Objects that shall have none come back once, for nothing.
var finalizerLost = predicate.Funcs{
	CreateFunc:  func(event.CreateEvent) bool { return false },
	DeleteFunc:  func(event.DeleteEvent) bool { return false },
	GenericFunc: func(event.GenericEvent) bool { return false },
	UpdateFunc: func(e event.UpdateEvent) bool {
		return controllerutil.ContainsFinalizer(e.ObjectOld, v1alpha1.Finalizer) && !controllerutil.ContainsFinalizer(e.ObjectNew, v1alpha1.Finalizer)
	},
}

func addIndexes(indexer client.FieldIndexer) error {
	ctx := context.Background() // it only registers functions
	for name, value := range map[string]func(*v1alpha1.AccessToken) string{
		appIndex:   func(t *v1alpha1.AccessToken) string { return t.Spec.ConnectedAppRef.Name },
		grantIndex: (*v1alpha1.AccessToken).GrantSecretName,
	} {
		err := indexer.IndexField(ctx, &v1alpha1.AccessToken{}, name, func(o client.Object) []string {
			return []string{value(o.(*v1alpha1.AccessToken))} //nolint:forcetypeassert // it is what is indexed
		})
		if err != nil {
			return fmt.Errorf("indexing AccessTokens by %s: %w", name, err)
		}
	}
	return nil
}

// tokensOf maps an app to its AccessTokens.
func (r *Reconciler) tokensOf(ctx context.Context, o client.Object) []reconcile.Request {
	return r.tokens(ctx, func(*v1alpha1.AccessToken) bool { return true },
		client.InNamespace(o.GetNamespace()), client.MatchingFields{appIndex: o.GetName()})
}

// tokensOfCredentials maps a Secret with credentials to the AccessTokens of the
// apps that have them, and to those whose grant names it.
func (r *Reconciler) tokensOfCredentials(ctx context.Context, secret client.Object) []reconcile.Request {
	apps, err := object.AppsBySecret(ctx, r.Client, client.ObjectKeyFromObject(secret))
	if err != nil {
		return nil // as below
	}
	requests := r.tokens(ctx, func(*v1alpha1.AccessToken) bool { return true },
		client.InNamespace(secret.GetNamespace()), client.MatchingFields{grantIndex: secret.GetName()})
	for _, key := range apps {
		app := &v1alpha1.ConnectedApp{}
		app.Namespace, app.Name = key.Namespace, key.Name
		requests = append(requests, r.tokensOf(ctx, app)...)
	}
	return requests
}

// tokensOfServer maps a TokenServer that came back to the AccessTokens of its
// apps that failed: they need not sit out their pause, but for what the server
// itself asked to wait. All others have what they need, and thousands of them
// would be in the way.
func (r *Reconciler) tokensOfServer(ctx context.Context, o client.Object) []reconcile.Request {
	apps := &v1alpha1.ConnectedAppList{}
	if err := r.Client.List(ctx, apps, client.UnsafeDisableDeepCopy); err != nil {
		return nil // reading from the cache fails when the manager stops
	}
	of := map[client.ObjectKey]bool{}
	for i := range apps.Items {
		of[client.ObjectKeyFromObject(&apps.Items[i])] = apps.Items[i].TokenServerName() == o.GetName()
	}
	r.breakers.close(o.GetName())
	return r.tokens(ctx, func(token *v1alpha1.AccessToken) bool {
		return of[client.ObjectKey{Namespace: token.Namespace, Name: token.Spec.ConnectedAppRef.Name}] &&
			r.memory.impatient(client.ObjectKeyFromObject(token))
	})
}

func (r *Reconciler) allTokens(ctx context.Context, _ client.Object) []reconcile.Request {
	return r.tokens(ctx, func(*v1alpha1.AccessToken) bool { return true })
}

func (r *Reconciler) tokens(ctx context.Context, which func(*v1alpha1.AccessToken) bool, options ...client.ListOption) []reconcile.Request {
	tokens := &v1alpha1.AccessTokenList{}
	if err := r.Client.List(ctx, tokens, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil // as above
	}
	var requests []reconcile.Request
	for i := range tokens.Items {
		if which(&tokens.Items[i]) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&tokens.Items[i])})
		}
	}
	return requests
}
