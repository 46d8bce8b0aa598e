// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
)

// indexTokenServer finds ConnectedApps by their TokenServer. The controller of
// ConnectedApps sets it up.
const indexTokenServer = "tokenServer"

// apps are the ConnectedApps that name a TokenServer, as the cache has them. They
// are shared: treat them as read-only.
func apps(ctx context.Context, reader client.Reader, name string) ([]v1alpha1.ConnectedApp, error) {
	var list v1alpha1.ConnectedAppList
	if err := reader.List(ctx, &list, client.MatchingFields{indexTokenServer: name}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, status.TransientError(v1alpha1.ReasonWriteFailed, err, "listing the ConnectedApps of TokenServer %s failed", name)
	}
	return list.Items, nil
}

// mayBeRegistered tells whether an app may have a client on the server. A status
// can be lost, as in a restored cluster; the finalizer is set before anything is
// registered.
func mayBeRegistered(app *v1alpha1.ConnectedApp) bool {
	return app.Status.ClientID != "" || controllerutil.ContainsFinalizer(app, v1alpha1.Finalizer)
}

func count(list []v1alpha1.ConnectedApp, which func(*v1alpha1.ConnectedApp) bool) int {
	n := 0
	for i := range list {
		if which(&list[i]) {
			n++
		}
	}
	return n
}
