// SPDX-License-Identifier: Apache-2.0

// Package httpx is what every endpoint of the token server shares about HTTP:
// JSON answers and OAuth errors, strict reading of parameters, the one log
// event of a request and its metrics. It knows no grant and no record.
package httpx
