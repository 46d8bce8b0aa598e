// SPDX-License-Identifier: Apache-2.0

// Package accesstoken is the controller of AccessTokens: it keeps a valid access
// token of a ConnectedApp in a Secret.
//
//	AccessToken ──► ConnectedApp well? ──► its credentials ──► token endpoint
//	     ▲                                                          │
//	     └── again at 0.55-0.75 of the token's life ◄── Secret ◄────┘
//
// All it has to remember is in the Secret: the token, when it was issued and
// what for. So a restart asks for no new token, and a Secret that somebody
// edited or deleted gets one within seconds; who does so again and again waits
// longer each time. When the token server is away the last token stays, and is
// asked for anew with backoff; an expired or malformed one is never written. A
// token whose app is in trouble is not known to work: Ready is False, and the
// next one is asked for when the app is well. Schedule, backoff, sources and the
// names of the keys are those of package refresher, as in the sidecar.
package accesstoken
