// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"context"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/ownership"
	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/registrar"
)

// noteOrphans writes into the status which clients of this cluster have no object
// any more: left by deletionPolicy Orphan, or by an object that went while no
// manager ran, or back on a server that was restored. They are told, and nothing
// is done to them. It looks at the list that the apps' comparison makes; when it
// cannot, what the status says stays.
func (r *Reconciler) noteOrphans(ctx context.Context, server *v1alpha1.TokenServer) {
	connection, ok := r.Connections.Get(server.Name)
	if !ok || r.ClusterID == "" {
		return
	}
	ids, err := r.orphans(ctx, server.Name, connection)
	if err != nil {
		log.FromContext(ctx).V(1).Info("clients without a ConnectedApp are not known", "cause", err.Error())
		return
	}
	found := &v1alpha1.OrphanedClients{Count: int32(len(ids))}
	for _, id := range ids[:min(len(ids), v1alpha1.MaxOrphanedClientIDs)] {
		found.ClientIDs = append(found.ClientIDs, v1alpha1.ClientID(id))
	}
	server.Status.OrphanedClients = found
}

// orphans are the ids of clients without an object, in order.
func (r *Reconciler) orphans(ctx context.Context, name string, connection *inventory.Connection) ([]string, error) {
	unclaimed, err := connection.Unclaimed(ctx, r.ResyncInterval)
	if err != nil {
		return nil, err
	}
	census, err := r.census(ctx)
	if err != nil {
		return nil, err
	}
	if census.Waiting, err = r.Tombstones.ExternalIDs(ctx); err != nil {
		return nil, err
	}
	records, err := r.Owners.On(ctx, name)
	if err != nil {
		return nil, err
	}
	orphans, gone := census.Orphans(unclaimed, records, connection.Lists)
	for _, record := range gone {
		if err := r.forgetOwner(ctx, connection, record); err != nil {
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(orphans)), nil
}

// forgetOwner ends the memory of a client that is gone, and was an object's that is. A
// list whose pages shifted while it was read may lack one that is there.
func (r *Reconciler) forgetOwner(ctx context.Context, connection *inventory.Connection, record ownership.Record) error {
	if _, err := connection.App(ctx, record.ClientID, 0); !registrar.IsNotFound(err) {
		return err
	}
	owner, _ := ownership.ParseOwner(record.Owner)
	app := &v1alpha1.ConnectedApp{}
	err := r.Live.Get(ctx, owner.Key, app)
	if err == nil && app.UID == owner.UID {
		return nil
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	return r.Owners.Forget(ctx, record)
}

// unclaimed returns a test for external ids of this cluster whose object is not
// there, by the objects that are there now.
func (r *Reconciler) unclaimed() func(externalID string) bool {
	census, err := r.census(context.Background()) // from the cache
	if err != nil {
		return func(string) bool { return false }
	}
	return census.IsOrphan
}

// census is which ConnectedApps are there. The cache is filled before the
// controller starts.
func (r *Reconciler) census(ctx context.Context) (ownership.Census, error) {
	census := ownership.Census{Cluster: r.ClusterID, Namespaces: r.Namespaces, Objects: map[types.UID]bool{}}
	var list v1alpha1.ConnectedAppList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return census, err
	}
	for i := range list.Items {
		census.Objects[list.Items[i].UID] = true
	}
	return census, nil
}
