// SPDX-License-Identifier: Apache-2.0

// Package session serves the pages of a signed-in browser: sign-in, authorized
// apps, sign-out, and the end-session endpoint by which an app signs its user
// out.
//
// https://openid.net/specs/openid-connect-rpinitiated-1_0.html
package session
