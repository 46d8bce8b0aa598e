// SPDX-License-Identifier: Apache-2.0

// Package storage owns the records of the token server and the interfaces to
// them, one per role. It knows no database: the engines are storage/sqlite and
// storage/postgres over one schema, and storage/storagetest is the suite that
// both must pass.
//
// Every time is given by the caller, in UTC with microseconds, never taken from
// the database. Every method may return the context's error; what else it
// returns stands in its comment.
package storage
