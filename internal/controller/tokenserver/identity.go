// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
)

// checkIdentity stops at a server that is not the one apps were registered on:
// its apps are missing there, and making them anew would change every client id.
// The annotation accept-server lets it pass when it names the new server.
func (r *Reconciler) checkIdentity(ctx context.Context, server *v1alpha1.TokenServer, found *findings) error {
	changes := identityChanges(&server.Status, found)
	if len(changes) == 0 {
		return nil
	}
	name := cmp.Or(found.discovery.InstallationID, found.discovery.Issuer)
	if server.Annotations[v1alpha1.AnnotationAcceptServer] == name {
		return nil
	}
	used, err := r.registered(ctx, server.Name)
	if err != nil {
		return err
	}
	if used == 0 {
		return nil
	}
	return status.StalledError(v1alpha1.ReasonServerReplaced,
		"this is another server than the one that %d ConnectedApps are registered on: %s; to go on with it set the annotation %s to %s",
		used, strings.Join(changes, ", "), v1alpha1.AnnotationAcceptServer, name)
}

// identityChanges names what differs from the server of the last good probe.
// What one of the two does not tell does not differ.
func identityChanges(known *v1alpha1.TokenServerStatus, found *findings) []string {
	var changes []string
	for _, part := range []struct{ name, before, after string }{
		{"issuer", known.Issuer, found.discovery.Issuer},
		{"organization", known.OrganizationID, found.organization},
		{"installation", known.InstallationID, found.discovery.InstallationID},
	} {
		if part.before != "" && part.after != "" && part.before != part.after {
			changes = append(changes, fmt.Sprintf("%s %s, was %s", part.name, part.after, part.before))
		}
	}
	return changes
}

// registered counts the ConnectedApps that have a client on the server.
func (r *Reconciler) registered(ctx context.Context, name string) (int, error) {
	return r.count(ctx, name, func(app *v1alpha1.ConnectedApp) bool { return app.Status.ClientID != "" })
}

func (r *Reconciler) count(ctx context.Context, name string, which func(*v1alpha1.ConnectedApp) bool) (int, error) {
	apps := &v1alpha1.ConnectedAppList{}
	if err := r.Client.List(ctx, apps, client.UnsafeDisableDeepCopy); err != nil {
		return 0, status.TransientError(v1alpha1.ReasonWriteFailed, err, "listing ConnectedApps failed")
	}
	n := 0
	for i := range apps.Items {
		if apps.Items[i].TokenServerName() == name && which(&apps.Items[i]) {
			n++
		}
	}
	return n, nil
}
