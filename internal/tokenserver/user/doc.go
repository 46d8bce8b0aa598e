// SPDX-License-Identifier: Apache-2.0

// Package user owns what belongs to a person at the token server: the check of
// a local user's password and its throttling, the sessions of signed-in
// browsers, the tokens that defend forms, and consent. It writes no page and
// issues no token.
package user
