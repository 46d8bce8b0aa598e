// SPDX-License-Identifier: Apache-2.0

// Package inventory is what one token server holds, as far as the manager has
// to know it. It stands between the controllers and package registrar, so that
// thousands of apps cost few calls and a server in trouble is left in peace:
//
//   - Apps are listed page by page; only a row whose revision was not seen
//     before is read singly.
//   - What was read before our last write to an app is not used.
//   - That an app is missing in a list means nothing; a 404 of its own does.
//   - Calls at a time are limited, and a breaker answers for a server that
//     keeps failing.
//
// Connections hands out one Connection per TokenServer. The package knows
// nothing of Kubernetes.
package inventory
