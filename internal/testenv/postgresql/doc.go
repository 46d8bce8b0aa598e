// SPDX-License-Identifier: Apache-2.0

// Package postgresql gives tests a real PostgreSQL server, and a real pgbouncer
// in transaction mode before it. It has no fakes and never skips: without the
// programs a test fails and says how to get them.
//
// A test binary starts one server and makes a database for every test, a copy of
// one that is ready (Server.Database). A test that stops or kills the server starts
// its own.
package postgresql
