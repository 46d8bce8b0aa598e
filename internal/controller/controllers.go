// SPDX-License-Identifier: Apache-2.0

// Package controller is the table of contents of the operator: it builds the
// controllers, what they share and the cache they read from.
package controller

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unique"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/accesstoken"
	"connectedapps.dev/operator/internal/controller/apply"
	"connectedapps.dev/operator/internal/controller/connectedapp"
	"connectedapps.dev/operator/internal/controller/identity"
	"connectedapps.dev/operator/internal/controller/object"
	"connectedapps.dev/operator/internal/controller/ownership"
	"connectedapps.dev/operator/internal/controller/secretcache"
	"connectedapps.dev/operator/internal/controller/tokenserver"
	"connectedapps.dev/operator/internal/controller/tombstone"
	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/tracing"
)

// Options tune the controllers.
type Options struct {
	// Namespace is the manager's own: credentials and certificates of
	// TokenServers are in it.
	Namespace string
	// Namespaces are those that are in the cache; empty: all.
	Namespaces []string
	// ResyncInterval is how often each client on a token server is compared with
	// its spec.
	ResyncInterval time.Duration
	// ProbeInterval is how often each token server is probed; 0: 1 min.
	ProbeInterval time.Duration
	// MinimumTokenLifetime is the shortest life of a token that goes into a
	// Secret.
	MinimumTokenLifetime time.Duration
	// Bundled says what keeps the bundled token server from working, empty for a
	// TokenServer that is not the bundled one; nil: nothing is known.
	Bundled func(*v1alpha1.TokenServer) string
	// Tracing makes spans; nil: none are made.
	Tracing *tracing.Tracing
}

// NewScheme knows the built-in kinds and ours.
func NewScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("registering the built-in kinds: %w", err)
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("registering our kinds: %w", err)
	}
	return scheme, nil
}

// CacheOptions bound what the manager keeps in memory, in all namespaces or in
// those given: of Secrets the trimmed metadata of those with our label, of
// ConfigMaps the names, of Namespaces the labels, of our kinds all but what
// others wrote into their metadata. NewClient reads Secrets by name.
func CacheOptions(namespaces ...string) cache.Options {
	labelled, err := labels.NewRequirement(v1alpha1.LabelSecret, selection.In, []string{v1alpha1.SecretManaged, v1alpha1.SecretReferenced})
	if err != nil {
		panic(err) // both words are constants
	}
	ours := cache.ByObject{Transform: trimOurs}
	options := cache.Options{ByObject: map[client.Object]cache.ByObject{
		&corev1.Secret{}:         {Label: labels.NewSelector().Add(*labelled), Transform: secretcache.TrimSecret},
		&corev1.ConfigMap{}:      {Transform: secretcache.TrimConfigMap},
		&corev1.Namespace{}:      {Transform: secretcache.TrimNamespace},
		&v1alpha1.TokenServer{}:  ours,
		&v1alpha1.ConnectedApp{}: ours,
		&v1alpha1.AccessToken{}:  ours,
	}}
	for _, namespace := range namespaces {
		if options.DefaultNamespaces == nil {
			options.DefaultNamespaces = map[string]cache.Config{}
		}
		options.DefaultNamespaces[namespace] = cache.Config{}
	}
	return options
}

// NewClient makes the client that goes with CacheOptions.
func NewClient(config *rest.Config, options client.Options) (client.Client, error) {
	return secretcache.New(config, options)
}

// trimOurs drops what others keep in the metadata of our kinds, such as the last
// applied manifest. Nothing writes these objects whole, so that it is not lost.
func trimOurs(o any) (any, error) {
	if object, ok := o.(client.Object); ok {
		object.SetManagedFields(nil)
		object.SetLabels(nil)
		object.SetAnnotations(ownAnnotations(object.GetAnnotations()))
	}
	if app, ok := o.(*v1alpha1.ConnectedApp); ok {
		pack(app)
	}
	return o, nil
}

// pack lets thousands of apps share the memory of what many of them say, and
// lists take what is in them, not what they once grew to.
func pack(app *v1alpha1.ConnectedApp) {
	app.APIVersion, app.Kind, app.Namespace = shared(app.APIVersion), shared(app.Kind), shared(app.Namespace)
	app.Finalizers = sharedList(app.Finalizers)
	spec, status := &app.Spec, &app.Status
	if spec.TokenServerRef != nil {
		spec.TokenServerRef.Name = shared(spec.TokenServerRef.Name)
	}
	spec.GrantTypes = sharedList(spec.GrantTypes)
	spec.RedirectURIs, spec.PostLogoutRedirectURIs = slices.Clone(spec.RedirectURIs), slices.Clone(spec.PostLogoutRedirectURIs)
	spec.Scopes = slices.Clone(spec.Scopes)
	for i := range spec.Scopes {
		s := &spec.Scopes[i]
		s.Scope, s.OrganizationID, s.EnvironmentID = shared(s.Scope), shared(s.OrganizationID), shared(s.EnvironmentID)
	}
	status.Issuer = shared(status.Issuer)
	status.Conditions = slices.Clone(status.Conditions)
	for i := range status.Conditions {
		c := &status.Conditions[i]
		c.Type, c.Reason, c.Status = shared(c.Type), shared(c.Reason), shared(c.Status)
		if c.Type == v1alpha1.ConditionPolicyAccepted {
			c.Message = shared(c.Message) // it speaks of the access rule, the others of this app
		}
	}
	status.Secrets = slices.Clone(status.Secrets)
	for i := range status.Secrets {
		status.Secrets[i].SecretNames = slices.Clone(status.Secrets[i].SecretNames)
	}
}

func sharedList[T ~string](list []T) []T {
	list = slices.Clone(list)
	for i := range list {
		list[i] = shared(list[i])
	}
	return list
}

func shared[T ~string](text T) T { return unique.Make(text).Value() }

func ownAnnotations(annotations map[string]string) map[string]string {
	maps.DeleteFunc(annotations, func(name, _ string) bool { return !strings.HasPrefix(name, v1alpha1.GroupVersion.Group+"/") })
	return annotations
}

// Register adds all controllers to the manager.
func Register(ctx context.Context, mgr ctrl.Manager, o Options) error {
	cluster, err := clusterID(ctx, mgr.GetAPIReader())
	if err != nil {
		return err
	}
	if err := object.IndexAppsBySecret(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	connections := &inventory.Connections{}
	identities := &identity.Records{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Namespace: o.Namespace}
	owners := &ownership.Records{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Namespace: o.Namespace}
	losses := &tokenserver.Losses{Reader: mgr.GetClient(), Connections: connections}
	tombstones, err := tombstone.NewStore(ctx, mgr, o.Namespace, identities)
	if err != nil {
		return fmt.Errorf("setting up the controllers: %w", err)
	}
	apps := &connectedapp.Reconciler{
		Tracing: o.Tracing,
		Client:  mgr.GetClient(), Live: mgr.GetAPIReader(), Connections: connections,
		Events:    mgr.GetEventRecorder(apply.ManagerConnectedApp),
		ClusterID: string(cluster), Losses: losses, Tombstones: tombstones, Owners: owners,
		Namespaces: o.Namespaces, ResyncInterval: o.ResyncInterval,
	}
	for _, controller := range []interface{ SetupWithManager(ctrl.Manager) error }{
		&tokenserver.Reconciler{
			Tracing:   o.Tracing,
			Namespace: o.Namespace, OwnTokens: &tokenserver.OwnTokens{Client: mgr.GetClient()},
			Connections: connections, Identities: identities, Losses: losses, Tombstones: tombstones,
			Owners: owners, ClusterID: string(cluster), Namespaces: o.Namespaces, ResyncInterval: o.ResyncInterval,
			ProbeInterval: o.ProbeInterval, Bundled: o.Bundled,
		},
		&tombstone.Reconciler{Tracing: o.Tracing, Store: tombstones, Connections: connections, Owners: owners},
		apps,
		&accesstoken.Reconciler{Tracing: o.Tracing, Connections: connections, MinimumLifetime: o.MinimumTokenLifetime, Doubt: apps.Doubt},
	} {
		if err := controller.SetupWithManager(mgr); err != nil {
			return fmt.Errorf("setting up the controllers: %w", err)
		}
	}
	return registerMetrics(mgr.GetClient(), mgr.Elected())
}

// clusterID is what tells this cluster from others that share a token server: it
// is made with the cluster and never changes.
func clusterID(ctx context.Context, reader client.Reader) (types.UID, error) {
	var namespace corev1.Namespace
	if err := reader.Get(ctx, client.ObjectKey{Name: "kube-system"}, &namespace); err != nil {
		return "", fmt.Errorf("reading the cluster's id: %w", err)
	}
	return namespace.UID, nil
}
