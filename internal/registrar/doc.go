// SPDX-License-Identifier: Apache-2.0

// Package registrar is the management API as its client sees it: apps are
// registered, read, updated and deleted on a token server, and their scopes and
// secrets with them. It also reads what a server says about itself.
//
// It owns the log-in (client credentials grant), the limit of requests per
// second, and the translation of everything that can go wrong into an *Error
// with a reason from a closed list. It keeps no state about apps; that is what
// package inventory does.
//
// No error of this package holds a secret, a token, the body of an answer or
// the query of a URL.
package registrar
