// SPDX-License-Identifier: Apache-2.0

package main

import "fmt"

// rate is how much a counter grows in a second, by labels.
func rate(by, counter, selector string) string {
	return fmt.Sprintf("sum by (%s) (rate(%s{%s}[$__rate_interval]))", by, counter, selector)
}

// quantile of a histogram, by labels.
func quantile(q float64, by, bucket, selector string) string {
	return fmt.Sprintf("histogram_quantile(%g, %s)", q, rate("le, "+by, bucket, selector))
}

// top n series of a query.
func top(n int, query string) string { return fmt.Sprintf("topk(%d, %s)", n, query) }

// part of a whole.
func part(some, whole string) string { return some + " / " + whole }
