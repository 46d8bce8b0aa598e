// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// watch follows each object by its name until ctx ends. The channel has an
// element when one of them changed since it was last read. Only metadata is
// kept: no secret stays in memory, and no other object of the namespace either.
func (r *Runnable) watch(ctx context.Context) <-chan struct{} {
	changed := make(chan struct{}, 1)
	wake := func() {
		select {
		case changed <- struct{}{}:
		default: // the next look sees this change too
		}
	}
	var secrets, configMaps []string
	if r.Secrets {
		secrets, configMaps = append(secrets, KeysSecret), append(configMaps, KeysConfigMap)
	}
	if r.TLS {
		secrets, configMaps = append(secrets, CASecret, TLSSecret), append(configMaps, CAConfigMap)
	}
	for kind, names := range map[string][]string{"Secret": secrets, "ConfigMap": configMaps} {
		for _, name := range names {
			go r.follow(ctx, kind, name, wake)
		}
	}
	return changed
}

// follow calls wake at every change of one object.
func (r *Runnable) follow(ctx context.Context, kind, name string, wake func()) {
	options := func(o metav1.ListOptions) *client.ListOptions {
		return &client.ListOptions{Namespace: r.Namespace, FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, name), Raw: &o}
	}
	list := func() *metav1.PartialObjectMetadataList {
		l := &metav1.PartialObjectMetadataList{}
		l.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind + "List"))
		return l
	}
	_, controller := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: &cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				l := list()
				return l, r.Client.List(ctx, l, options(o))
			},
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				return r.Client.Watch(ctx, list(), options(o))
			},
		},
		ObjectType: &metav1.PartialObjectMetadata{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { wake() },
			UpdateFunc: func(any, any) { wake() },
			DeleteFunc: func(any) { wake() },
		},
	})
	controller.RunWithContext(ctx)
}
