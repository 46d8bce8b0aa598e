// SPDX-License-Identifier: Apache-2.0

// Package connectedapp drives one ConnectedApp to its desired state, phase by
// phase. Package plan decides, the phases gather and carry out.
//
//	            ┌─ access ──────► does a rule of the TokenServer allow it?
//	            ├─ references ──► public keys, ExistingSecret
//	Reconcile ──┤
//	            ├─ registration ► the client on the token server
//	            └─ credentials ─► the Secret beside the object
//	finalize ─────► client and Secret go, or stay (Orphan)
//
// Any step may fail or the process may die after it. What was done is found
// again: the client by its external id, the client secret by the id noted on the
// Secret, the Secret by its owner.
package connectedapp
