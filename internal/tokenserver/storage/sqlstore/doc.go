// SPDX-License-Identifier: Apache-2.0

// Package sqlstore implements the storage roles in the SQL that SQLite and
// PostgreSQL share. An engine opens the database, names its Dialect and hands
// both to New; nothing here knows which engine it runs on.
//
// Times are BIGINT microseconds since 1970 UTC, 0 for the zero time. Lists are
// JSON in TEXT. Every change of an app or a revocation writes its entry of the
// change feed in the same transaction.
package sqlstore
