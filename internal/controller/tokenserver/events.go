// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
)

// Reasons of Events that are no reasons of a condition.
const (
	// eventClientsRemembered: the first client of a ConnectedApp that is gone is
	// remembered, since the server did not answer in time.
	//
	//   - TokenServer Events: Wait; it is deleted as soon as the server can be used
	//     (docs/spec/v1alpha1/tokenservers.md#working-with-tokenservers).
	eventClientsRemembered = "ClientsRemembered"
	// eventClientsDeleted: no remembered client is left on the server.
	//
	//   - TokenServer Events.
	eventClientsDeleted = "RememberedClientsDeleted"
	// eventClientsOrphaned: the number of clients without a ConnectedApp is another
	// than before.
	//
	//   - TokenServer Events: Delete them on the server, or adopt them
	//     (docs/spec/v1alpha1/tokenservers.md#working-with-tokenservers).
	eventClientsOrphaned = "ClientsOrphaned"
	// eventNoneOrphaned: no client without a ConnectedApp is left.
	//
	//   - TokenServer Events.
	eventNoneOrphaned = "NoClientOrphaned"
)

const actionProbe = "Probe"

// report logs changes and makes Events of them. Repeated findings make none.
func (r *Reconciler) report(ctx context.Context, original, server *v1alpha1.TokenServer) {
	r.reportReady(ctx, original, server)
	r.reportOrphans(original, server)
	before, after := original.Status.RememberedClients, server.Status.RememberedClients
	switch {
	case before == 0 && after > 0:
		r.Recorder.Eventf(server, nil, corev1.EventTypeWarning, eventClientsRemembered, actionProbe,
			"%d clients of ConnectedApps that are gone could not be deleted in time; they are deleted as soon as the server can be used", after)
	case before > 0 && after == 0:
		r.Recorder.Eventf(server, nil, corev1.EventTypeNormal, eventClientsDeleted, actionProbe, "no client of a ConnectedApp that is gone is left on the server")
	}
}

// reportOrphans tells that there are more or fewer clients without an object.
func (r *Reconciler) reportOrphans(original, server *v1alpha1.TokenServer) {
	before, after := orphaned(original), orphaned(server)
	switch {
	case before == after:
	case after == 0:
		r.Recorder.Eventf(server, nil, corev1.EventTypeNormal, eventNoneOrphaned, actionProbe, "every client that ConnectedApps of this cluster made has one")
	default:
		r.Recorder.Eventf(server, nil, corev1.EventTypeWarning, eventClientsOrphaned, actionProbe,
			"clients that ConnectedApps of this cluster made and that have none any more: %d (status.orphanedClients); nothing is done to them: "+
				"delete them on the server, or list them in clientIDs of an access rule to have them adopted", after)
	}
}

func orphaned(server *v1alpha1.TokenServer) int32 {
	if server.Status.OrphanedClients == nil {
		return 0
	}
	return server.Status.OrphanedClients.Count
}

func (r *Reconciler) reportReady(ctx context.Context, original, server *v1alpha1.TokenServer) {
	before, after := status.Get(original, v1alpha1.ConditionReady), status.Get(server, v1alpha1.ConditionReady)
	if before != nil && before.Status == after.Status && before.Reason == after.Reason && before.Message == after.Message {
		return
	}
	log.FromContext(ctx).Info("token server probed", "ready", after.Status, "reason", after.Reason, "message", after.Message)
	kind := corev1.EventTypeWarning
	if status.IsReady(server) {
		kind = corev1.EventTypeNormal
	}
	r.Recorder.Eventf(server, nil, kind, after.Reason, actionProbe, "%s", after.Message)
}
