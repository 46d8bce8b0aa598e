// SPDX-License-Identifier: Apache-2.0

// Package campaign holds the tests that look at the operator from outside, as
// built binaries between an API server and a token server: the campaign of
// kills, the search for secrets in all that the run left behind, and the
// benchmark of a thousand apps.
package campaign
