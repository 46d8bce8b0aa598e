// SPDX-License-Identifier: Apache-2.0

// Package sqlcopy copies everything a token server keeps from one database to
// another, of the same or of the other engine. Tables and columns come from the
// catalogs of the two databases, so that a migration that adds one needs nothing
// here. It knows nothing of what the rows mean.
package sqlcopy
