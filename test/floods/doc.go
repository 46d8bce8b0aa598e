// SPDX-License-Identifier: Apache-2.0

// Package floods sends what costs an attacker little to servers as they are shipped,
// while a guest uses them: the guest is served, memory stays within what
// config/tokenserver gives a Pod, and nothing is left when the flood ends. How much
// of their rate others keep is measured by BenchmarkFlood of test/speed.
package floods
