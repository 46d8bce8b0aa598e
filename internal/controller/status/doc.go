// SPDX-License-Identifier: Apache-2.0

// Package status holds what all controllers share about reporting: conditions,
// the kinds of error and what each means for the queue, and the one write of a
// status. It does not decide anything about apps or tokens.
package status
