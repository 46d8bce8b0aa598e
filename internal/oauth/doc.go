// SPDX-License-Identifier: Apache-2.0

// Package oauth holds the words of the protocol that the token server and its
// clients share: parameter names, error codes, grant types and the JSON
// structures on the wire. It imports neither side, so that the two meet only
// here and over HTTP.
package oauth
