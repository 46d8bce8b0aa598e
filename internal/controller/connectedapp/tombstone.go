// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/registrar"
)

// Keys of a tombstone: a ConfigMap in the manager's namespace that remembers a
// client whose object is gone.
const (
	tombstoneServer     = "tokenServer"
	tombstoneExternalID = "externalID"
	tombstoneClientID   = "clientID"
)

// entomb makes a tombstone: the client of an object that is gone is deleted later.
func (r *Reconciler) entomb(ctx context.Context, app *v1alpha1.ConnectedApp) error {
	tombstone := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: r.Namespace, Name: "tombstone-" + string(app.UID),
			Labels: map[string]string{v1alpha1.LabelTombstone: "true"},
		},
		Data: map[string]string{
			tombstoneServer: app.TokenServerName(), tombstoneExternalID: externalID(r.ClusterID, app), tombstoneClientID: app.Status.ClientID,
		},
	}
	if err := r.Client.Create(ctx, tombstone); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("remembering client %s: %w", app.Status.ClientID, err)
	}
	return nil
}

// drain deletes the remembered clients of a token server that is back.
func (r *Reconciler) drain(ctx context.Context, server string) error {
	var tombstones corev1.ConfigMapList
	if err := r.Live.List(ctx, &tombstones, client.InNamespace(r.Namespace), client.MatchingLabels{v1alpha1.LabelTombstone: "true"}); err != nil {
		return fmt.Errorf("listing tombstones: %w", err)
	}
	for i := range tombstones.Items {
		tombstone := &tombstones.Items[i]
		if tombstone.Data[tombstoneServer] != server {
			continue
		}
		connection, ok := r.Connections.Get(server)
		if !ok {
			return nil // its recovery will be told again
		}
		if err := deleteClient(ctx, connection, tombstone.Data[tombstoneExternalID], tombstone.Data[tombstoneClientID]); err != nil {
			return err
		}
		if err := client.IgnoreNotFound(r.Client.Delete(ctx, tombstone)); err != nil {
			return fmt.Errorf("deleting tombstone %s: %w", tombstone.Name, err)
		}
		log.FromContext(ctx).Info("deleted a remembered client", "client", tombstone.Data[tombstoneClientID], "tokenServer", server)
	}
	return nil
}

// deleteClient finds the client by its external id, since an id in a status is no
// proof that the client is ours.
func deleteClient(ctx context.Context, server *inventory.Connection, externalID, clientID string) error {
	found, err := server.AppByExternalID(ctx, externalID)
	if registrar.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for client %s: %w", clientID, err)
	}
	return server.Delete(ctx, found.ClientID)
}
