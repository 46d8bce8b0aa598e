// SPDX-License-Identifier: Apache-2.0

// Package report is how benchmarks say what they measured: rows of a number and its
// budget. hack/bench runs benchmarks, prints their rows as a table with a bar each, and
// keeps them in docs/benchmarks.md.
package report
