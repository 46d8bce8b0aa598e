// SPDX-License-Identifier: Apache-2.0

// Package program builds the binaries of this module as they are shipped and runs
// them, for tests of what users run.
package program
