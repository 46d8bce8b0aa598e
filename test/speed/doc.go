// SPDX-License-Identifier: Apache-2.0

// Package speed measures the token server, as a built binary, against the ceiling
// program: a bare net/http server that does only what cannot be avoided. Server,
// ceiling and database run on one core, the client on another; both are asked in turn,
// pair by pair, and what counts is the median of the ratios. It measures the refresher
// too, which runs beside a token server.
//
// The environment makes a run longer or shorter: SPEED_PAIRS is how many pairs there
// are, SPEED_SECONDS how long each half of one takes, SPEED_APPS, SPEED_FAMILIES,
// SPEED_REVOCATIONS and SPEED_TOKENS how much there is of what grows.
package speed
