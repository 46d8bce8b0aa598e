// SPDX-License-Identifier: Apache-2.0

// Package speed measures the token server, as a built binary, against the ceiling
// program: a bare net/http server that does only what cannot be avoided. Server and
// ceiling run on one core, the client on another; both are asked in turn, pair by
// pair, and what counts is the median of the ratios.
//
// SPEED_PAIRS and SPEED_SECONDS make a run longer or shorter.
package speed
