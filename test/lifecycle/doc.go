// SPDX-License-Identifier: Apache-2.0

// Package lifecycle takes an installation through its life on a real API server,
// with the real programs: upgraded from the release before, with either program
// old or new and on either database, taken back, and removed in every order.
package lifecycle
