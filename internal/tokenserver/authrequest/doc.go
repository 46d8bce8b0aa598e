// SPDX-License-Identifier: Apache-2.0

// Package authrequest reads authorization requests: it checks their parameters,
// knows the registered addresses that may be answered, keeps a request in a
// local address while a person signs in, and tells what the sign-in page has to
// ask. It writes no answer and decides on no access: endpoints do.
//
// https://www.rfc-editor.org/rfc/rfc6749#section-4.1.1
// https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest
package authrequest
