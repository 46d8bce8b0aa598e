// SPDX-License-Identifier: Apache-2.0

package ownership

import (
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Owner is the ConnectedApp that a client was made for. Its text is the client's
// external id: it names the object across clusters, and tells it from one of the
// same name that was there before.
type Owner struct {
	// Cluster is the id of the object's cluster.
	Cluster string
	// Key is the object's namespace and name.
	Key client.ObjectKey
	// UID tells it from others of the name.
	UID types.UID
}

// OwnerOf names an object of a cluster.
func OwnerOf(cluster string, app client.Object) Owner {
	return Owner{Cluster: cluster, Key: client.ObjectKeyFromObject(app), UID: app.GetUID()}
}

// ParseOwner reads an external id; false: it is not one of ours.
func ParseOwner(externalID string) (Owner, bool) {
	parts := strings.Split(externalID, "/")
	if len(parts) != 4 {
		return Owner{}, false
	}
	return Owner{Cluster: parts[0], Key: client.ObjectKey{Namespace: parts[1], Name: parts[2]}, UID: types.UID(parts[3])}, true
}

func (o Owner) String() string {
	return strings.Join([]string{o.Cluster, o.Key.Namespace, o.Key.Name, string(o.UID)}, "/")
}
