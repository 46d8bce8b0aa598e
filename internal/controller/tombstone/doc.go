// SPDX-License-Identifier: Apache-2.0

// Package tombstone remembers clients whose ConnectedApps went before them,
// because their token server did not answer in time, and deletes them when it
// can be used again:
//
//	Remember ──► ConfigMap ──► controller ──► deleted on the server it is of
//	             in the manager's   each by itself,
//	             namespace          with growing pauses
//
// A tombstone waits for as long as it takes, also for a TokenServer that has yet
// to be made anew, and is never carried out on another server than the one the
// client was registered on. It can be let go by deleting its ConfigMap.
package tombstone
