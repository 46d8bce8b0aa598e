// SPDX-License-Identifier: Apache-2.0

// Package tracing makes spans of what manager and token server do, and sends them to
// a collector by OTLP over HTTP (https://opentelemetry.io/docs/specs/otlp/).
//
//	reconcile ──► HTTP client ──► HTTP server ──► database
//	 (manager)     traceparent    (token server)
//
// A span is begun by the manager for each pass over an object and by the token
// server for each request; all others are made only below one that is recorded, so
// that without a collector nothing is made and nothing is paid.
//
// No attribute holds a query, a header, a body, an error's text or anything that
// was given as a secret.
package tracing
