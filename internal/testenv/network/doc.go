// SPDX-License-Identifier: Apache-2.0

// Package network is what stands between programs under test: a TCP path that can
// be slow, break or go silent (Link), and a balancer that gives connections to
// whoever is ready (Balancer).
package network
