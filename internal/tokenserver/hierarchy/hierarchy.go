// SPDX-License-Identifier: Apache-2.0

// Package hierarchy answers which organizations lie below which. Only the way
// down is ever visible to a caller: an organization sees those below it, never
// those above or beside it.
package hierarchy

import "connectedapps.dev/operator/internal/tokenserver/directory"

// maxDepth bounds the walk, so that parents in a circle end it.
const maxDepth = 64

// Within tells whether the organization id is root or below it. An unknown id
// is within nothing.
func Within(dir *directory.Directory, id, root string) bool {
	for range maxDepth {
		org, ok := dir.Organization(id)
		switch {
		case !ok:
			return false
		case id == root:
			return true
		}
		id = org.ParentID
	}
	return false
}
