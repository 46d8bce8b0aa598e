// SPDX-License-Identifier: Apache-2.0

// Package refresher keeps an access token fresh: it asks a source for one,
// publishes it to an output, and asks again in good time before it expires.
//
//	Source ──► Engine ──► Output
//	             │
//	             ▼
//	           Health
//
// Watch wakes the engine when the credentials change, and EndpointSource asks any
// OAuth 2.0 token endpoint, by several grants and with several proofs of the client.
//
// The engine serves the sidecar, whose output is a directory of files. The
// parts it is made of (Source, Decide, Backoff, Files) serve the AccessToken
// controller too, which has a queue instead of a loop and a Secret instead of a
// directory, so that both deliver the same token under the same names at the
// same times.
//
// No error, log line or health report of this package holds a secret, a token
// or an assertion.
package refresher
