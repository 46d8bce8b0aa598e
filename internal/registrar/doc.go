// SPDX-License-Identifier: Apache-2.0

// Package registrar is the management API as its client sees it: register,
// read, update and delete connected apps, their scopes and their secrets, on
// the bundled token server or any other server with the same API. It logs in
// with client_credentials by itself and turns every failure into an Error with
// one of a closed set of reasons.
//
// It keeps no state but its access token, retries nothing but a login, and
// limits no rate: package inventory does that.
package registrar
