// SPDX-License-Identifier: Apache-2.0

// Package tokenserveroptions reads the configuration file of the token server.
// Decoding is strict, and everything that is wrong with the file and with the
// files it names is reported at once, each with its line and path.
package tokenserveroptions
