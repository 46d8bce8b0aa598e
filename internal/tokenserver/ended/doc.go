// SPDX-License-Identifier: Apache-2.0

// Package ended owns what has ended before its time: access tokens, refresh
// families, sessions, authorization codes. Every end goes through a Ledger, which
// stores it, and every question whether something is alive is answered by one,
// from memory.
//
//	one access token      its jti, until its own exp       ┐ in memory:
//	one authorization     its grant_id, for MaxTokenLife   │ a look-up in a map,
//	app, user, consent,   an epoch: a counter that what    │ whatever else has
//	organization          was issued carries along         ┘ ended
//
// No times are compared, so that nothing depends on clocks or on how long tokens
// live at present. Epochs only grow and ends are only added, so that it does not
// matter in which order reads of the database arrive. docs/revocation.md says
// what ends what.
package ended
