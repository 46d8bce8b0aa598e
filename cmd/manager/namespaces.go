// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"connectedapps.dev/operator/api/v1alpha1"
)

// lookInterval is how often namespaces are looked at that could not be watched.
const lookInterval = 10 * time.Second

// watched are the namespaces of --namespaces. One in which the manager has no
// rights, because it or its Role is not there yet or no longer, is left out: the
// caches fill all together, and one that cannot be filled would keep every other
// namespace waiting.
type watched struct {
	own    string
	wanted []string

	client  client.Client
	missing []string
}

// namespaces are those to watch; none: all.
func (w *watched) namespaces() []string {
	if len(w.wanted) == 0 {
		return nil
	}
	list := []string{w.own}
	for _, name := range w.wanted {
		if !slices.Contains(w.missing, name) && !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

// look finds the namespaces that cannot be watched, and says why.
func (w *watched) look(ctx context.Context, config *rest.Config, scheme *runtime.Scheme) (err error) {
	if len(w.wanted) == 0 {
		return nil
	}
	if w.client, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("connecting to the cluster: %w", err)
	}
	for _, name := range w.wanted {
		resource, err := w.refused(ctx, name)
		if err != nil {
			return err
		}
		if resource != "" {
			w.missing = append(w.missing, name)
			log.FromContext(ctx).Error(nil, "a namespace of --namespaces is not served, because the manager may not list "+resource+
				" in it: create it and apply config/rbac/tenant to it, or take it off the list", "namespace", name)
		}
	}
	return nil
}

// refused names a resource that the manager may not list in the namespace;
// empty: there is none.
func (w *watched) refused(ctx context.Context, namespace string) (string, error) {
	for _, resource := range []authorizationv1.ResourceAttributes{
		{Group: v1alpha1.GroupVersion.Group, Resource: "connectedapps"}, {Group: v1alpha1.GroupVersion.Group, Resource: "accesstokens"},
		{Resource: "secrets"}, {Resource: "configmaps"},
	} {
		resource.Namespace, resource.Verb = namespace, "list"
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &resource}}
		if err := w.client.Create(ctx, review); err != nil {
			return "", fmt.Errorf("asking what the manager may do in namespace %s: %w", namespace, err)
		}
		if !review.Status.Allowed {
			return resource.Resource, nil
		}
	}
	return "", nil
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: each manager has
// a cache of its own.
func (w *watched) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable. It ends the manager when a namespace can be
// watched that could not: a cache takes no namespace more while it runs, and
// Kubernetes starts the manager again.
func (w *watched) Start(ctx context.Context) error {
	if len(w.missing) == 0 {
		return nil
	}
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, name := range w.missing {
			if resource, err := w.refused(ctx, name); err == nil && resource == "" {
				return fmt.Errorf("namespace %s can be served now: starting again", name)
			}
		}
	}
}
