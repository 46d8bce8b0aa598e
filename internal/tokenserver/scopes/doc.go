// SPDX-License-Identifier: Apache-2.0

// Package scopes owns the catalogue of scope names: what each is called, what
// it allows in words a person understands, and which of them have a meaning to
// the token server itself. It does not decide who may hold a scope.
package scopes
