// SPDX-License-Identifier: Apache-2.0

// Package controller is the table of contents of the operator: it builds the
// controllers, what they share and the cache they read from.
package controller

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/accesstoken"
	"connectedapps.dev/operator/internal/controller/apply"
	"connectedapps.dev/operator/internal/controller/connectedapp"
	"connectedapps.dev/operator/internal/controller/identity"
	"connectedapps.dev/operator/internal/controller/tokenserver"
	"connectedapps.dev/operator/internal/controller/tombstone"
	"connectedapps.dev/operator/internal/inventory"
)

// What the manager needs beside its controllers: to be the leader, and to ask
// who may read its metrics.
//
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,namespace=connectedapps-system,verbs=get;create;update;patch
// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create
// +kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create

// Options tune the controllers.
type Options struct {
	// Namespace is the manager's own: credentials and certificates of
	// TokenServers are in it.
	Namespace string
	// ResyncInterval is how often each client on a token server is compared with
	// its spec.
	ResyncInterval time.Duration
	// ProbeInterval is how often each token server is probed; 0: 1 min.
	ProbeInterval time.Duration
	// MinimumTokenLifetime is the shortest life of a token that goes into a
	// Secret.
	MinimumTokenLifetime time.Duration
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

// CacheOptions bound what the manager keeps in memory: of Secrets those with our
// label, of ConfigMaps and Namespaces the metadata.
func CacheOptions() cache.Options {
	labelled, err := labels.NewRequirement(v1alpha1.LabelSecret, selection.In, []string{v1alpha1.SecretManaged, v1alpha1.SecretReferenced})
	if err != nil {
		panic(err) // both words are constants
	}
	strip := cache.ByObject{Transform: cache.TransformStripManagedFields()}
	return cache.Options{ByObject: map[client.Object]cache.ByObject{
		&corev1.Secret{}:         {Label: labels.NewSelector().Add(*labelled)},
		&corev1.ConfigMap{}:      strip,
		&corev1.Namespace{}:      strip,
		&v1alpha1.TokenServer{}:  strip,
		&v1alpha1.ConnectedApp{}: strip,
		&v1alpha1.AccessToken{}:  strip,
	}}
}

// Register adds all controllers to the manager.
func Register(ctx context.Context, mgr ctrl.Manager, o Options) error {
	cluster, err := clusterID(ctx, mgr.GetAPIReader())
	if err != nil {
		return err
	}
	connections := &inventory.Connections{}
	identities := &identity.Records{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Namespace: o.Namespace}
	losses := &tokenserver.Losses{Reader: mgr.GetClient(), Connections: connections}
	tombstones, err := tombstone.NewStore(ctx, mgr, o.Namespace, identities)
	if err != nil {
		return fmt.Errorf("setting up the controllers: %w", err)
	}
	for _, controller := range []interface{ SetupWithManager(ctrl.Manager) error }{
		&tokenserver.Reconciler{
			Namespace: o.Namespace, Connections: connections, Identities: identities, Losses: losses, Tombstones: tombstones, ProbeInterval: o.ProbeInterval,
		},
		&tombstone.Reconciler{Store: tombstones, Connections: connections},
		&connectedapp.Reconciler{
			Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Connections: connections,
			Events:    mgr.GetEventRecorder(apply.ManagerConnectedApp),
			ClusterID: string(cluster), Losses: losses, Tombstones: tombstones, ResyncInterval: o.ResyncInterval,
		},
		&accesstoken.Reconciler{Connections: connections, MinimumLifetime: o.MinimumTokenLifetime},
	} {
		if err := controller.SetupWithManager(mgr); err != nil {
			return fmt.Errorf("setting up the controllers: %w", err)
		}
	}
	return registerMetrics(mgr.GetClient())
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
