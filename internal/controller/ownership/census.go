// SPDX-License-Identifier: Apache-2.0

package ownership

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// Census is which objects of a cluster there are, by which clients without one
// are told.
type Census struct {
	// Cluster is the id of the cluster.
	Cluster string
	// Objects are the UIDs of its ConnectedApps, whatever TokenServer they name.
	Objects map[types.UID]bool
	// Namespaces are those that count; nil: all.
	Namespaces []string
	// Waiting are the external ids of clients that are about to be deleted.
	Waiting map[string]bool
}

// IsOrphan tells whether an external id names an object of the cluster, in a
// namespace that counts, which is not among those that are there.
func (c Census) IsOrphan(externalID string) bool {
	owner, ok := ParseOwner(externalID)
	return ok && owner.Cluster == c.Cluster && !c.Objects[owner.UID] &&
		(len(c.Namespaces) == 0 || slices.Contains(c.Namespaces, owner.Key.Namespace))
}

// Orphans are the clients of a token server without an object, and the external
// ids of those that they had. marks are external ids of clients on the server by
// client id, records what is remembered of it, and listed tells whether a client is
// there. gone are the records of objects and clients that are not there.
func (c Census) Orphans(marks map[string]string, records []Record, listed func(clientID string) bool) (orphans map[string]string, gone []Record) {
	orphans = map[string]string{}
	for id, mark := range marks {
		if c.IsOrphan(mark) && !c.Waiting[mark] {
			orphans[id] = mark
		}
	}
	// Whoever took a client over has it, whatever mark it bears.
	for _, record := range records {
		switch {
		case !c.IsOrphan(record.Owner):
			delete(orphans, record.ClientID)
		case !listed(record.ClientID):
			gone = append(gone, record)
		case c.Waiting[record.Owner]:
			delete(orphans, record.ClientID)
		default:
			orphans[record.ClientID] = record.Owner
		}
	}
	return orphans, gone
}
