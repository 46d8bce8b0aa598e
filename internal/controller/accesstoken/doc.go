// SPDX-License-Identifier: Apache-2.0

// Package accesstoken is the controller of AccessTokens: it keeps a valid access
// token of a ConnectedApp in a Secret.
//
//	AccessToken ──► ConnectedApp ready? ──► its credentials ──► token endpoint
//	     ▲                                                           │
//	     └── again at 0.55-0.75 of the token's life ◄── Secret ◄─────┘
//
// All it has to remember is in the Secret: the token, when it was issued and
// what for. So a restart asks for no new token, and a Secret that somebody
// edited or deleted gets one within seconds. When the token server is away the
// last token stays, and is asked for anew with backoff; an expired or malformed
// one is never written. Schedule, backoff, sources and the names of the keys are
// those of package refresher, as in the sidecar.
package accesstoken
