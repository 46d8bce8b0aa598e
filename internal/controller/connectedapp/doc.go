// SPDX-License-Identifier: Apache-2.0

// Package connectedapp drives one ConnectedApp to its desired state. Package plan
// decides; this one gathers what it decides from, and carries out what it says.
//
//	            ┌─ observe ──► TokenServer and access rules, what the spec names,
//	            │              the Secret, the client on the token server
//	Reconcile ──┼─ plan.Make ► actions and reasons
//	            ├─ execute ──► the actions, up to the first that fails
//	            └─ conclude ─► one status, Events
//
// Any step may fail or the process may die after it. What was done is found
// again: the client by its external id, or by a temporary name, the client secret
// by the id noted on the Secret, the Secret by its owner.
package connectedapp
