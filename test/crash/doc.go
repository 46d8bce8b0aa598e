// SPDX-License-Identifier: Apache-2.0

// Package crash holds the test that kills the token server between any two of
// its storage writes and looks at what is left.
package crash
