// SPDX-License-Identifier: Apache-2.0

// Package authorize is the authorization endpoint: it takes an authorization
// request, has the person sign in and decide, and sends the code, or an error,
// to a registered address of the app and nowhere else.
//
//	GET or POST …/authorize
//	   │ parse, check                  broken client or redirect URI ─► page
//	   │                               any other mistake ─► redirect with error
//	   ├─ POST ─► sealed into an address, 303 to it so that the Lax cookie arrives
//	   ├─ nobody (or too long ago) signed in ─► 303 to the sign-in page, and back
//	   ├─ not yet allowed ─► Authorize App page ─► POST /accounts/authorize-app
//	   └─ allowed ─► 303 to the app with code, state and iss
//
// https://www.rfc-editor.org/rfc/rfc6749#section-4.1
// https://openid.net/specs/openid-connect-core-1_0.html#AuthorizationEndpoint
package authorize
