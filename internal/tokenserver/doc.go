// SPDX-License-Identifier: Apache-2.0

// Package tokenserver builds the token server from its configuration and mounts
// its endpoints. Nothing imports it but the command and tests.
//
// The words of this folder, where a specification has none:
//
//   - App: an OAuth client; client is its word on the wire and in the packages of
//     the protocol. An app acts for users, or for itself (client_credentials). See
//     package clients.
//   - Directory: organizations and users of the configuration. An asserted user
//     comes from an identity provider and is a row of the database.
//   - Person: whoever sits at a browser; user is their record.
//   - Consent: that a user allowed an app scopes, of one security version.
//     Security version: it moves when somebody else could receive what users
//     allowed the app (docs/privileges.md).
//   - Hands, sovereign, manager: who made the present security version; an
//     administrator with all that goes with it; whoever else may write apps.
//   - Family, or grant in claims and records: all that came of one authorization,
//     refresh tokens and the access tokens they were exchanged for. It is not the
//     grant type of package grant.
//   - Ended: what never comes back, as opposed to refused meanwhile. Epoch: the
//     count of a holder's ends, by which older tokens are known (package ended,
//     docs/revocation.md).
//   - Feed: the changes of other replicas, in order. Confirmed: how recently this
//     replica knew that it had them all. Gate: what is answered when it does not
//     know (docs/outages.md).
//   - View: what the feed keeps in memory. Prepared: read and checked once, when
//     the view took it.
//   - Power: the table of what a change of an app gives somebody. Honoured scope:
//     one that this server itself acts on.
//   - Problem: a failure of the platform's own API; an error is one of OAuth, a
//     refusal one that a browser is sent back with.
package tokenserver
