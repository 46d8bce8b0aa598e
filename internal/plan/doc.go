// SPDX-License-Identifier: Apache-2.0

// Package plan decides what has to be done for a ConnectedApp: from the spec,
// the access rules of its TokenServer, what the server holds and what the
// Secret holds, to a list of actions. It is pure: it calls nobody, reads no
// clock and changes none of its arguments, so that the same plan can be carried
// out, printed and tested.
//
//	spec ──► Desired ──► Judge ──► Verdict.Client ─┐
//	access rules ──────────┘                       ├─► Make ──► actions, drift
//	what the server holds, what the Secret holds ──┘
package plan
