// SPDX-License-Identifier: Apache-2.0

package report

import (
	"strconv"
	"strings"
)

// Row is one number that a benchmark measured.
type Row struct {
	// Benchmark is the one that measured it, as go test -bench names it, without the
	// word Benchmark; Add sets it.
	Benchmark string `json:"benchmark"`
	// Name says what was measured; it is unique in a benchmark.
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	// Unit is that of value and budget; empty: a ratio or a count.
	Unit string `json:"unit,omitempty"`
	Goal
	// Note stands in brackets behind the value; empty: nothing to add.
	Note string `json:"note,omitempty"`
}

// Goal is what a value should be.
type Goal struct {
	Direction Direction `json:"direction"`
	// Budget is the least or the most that is good; nil: there is none.
	Budget *float64 `json:"budget,omitempty"`
}

// Direction tells which of two values is the better one.
type Direction string

// The directions.
const (
	Higher Direction = "higher"
	Lower  Direction = "lower"
)

// AtLeast is a budget that a value must reach.
func AtLeast(budget float64) Goal { return Goal{Higher, &budget} }

// AtMost is a budget that a value must not exceed.
func AtMost(budget float64) Goal { return Goal{Lower, &budget} }

// Without is a goal without a budget.
func Without(d Direction) Goal { return Goal{Direction: d} }

// Over tells that the value misses its budget.
func (r Row) Over() bool {
	switch {
	case r.Budget == nil:
		return false
	case r.Direction == Higher:
		return r.Value < *r.Budget
	}
	return r.Value > *r.Budget
}

// tolerated is the share by which a value may be worse than before.
const tolerated = 0.1

// Fell tells that the value is worse by more than a tenth than before.
func (r Row) Fell(before float64) bool {
	// As the document has both: what nobody sees is no difference.
	now, err := strconv.ParseFloat(number(r.Value), 64)
	if err != nil {
		return true
	}
	if r.Direction == Higher {
		return now < before*(1-tolerated)
	}
	return now > before*(1+tolerated)
}

// verdict is what the tables say of the budget.
func (r Row) verdict() string {
	switch {
	case r.Budget == nil:
		return ""
	case r.Over():
		return "over"
	}
	return "within"
}

// budget is what the tables show of it.
func (r Row) budget() string {
	if r.Budget == nil {
		return none
	}
	sign := "≤ "
	if r.Direction == Higher {
		sign = "≥ "
	}
	return sign + measure(*r.Budget, r.Unit)
}

const none = "–"

// measure is a number with its unit.
func measure(value float64, unit string) string {
	return strings.TrimRight(number(value)+" "+unit, " ")
}

// number has three digits that count, where that many are known.
func number(value float64) string {
	digits := 2
	switch {
	case value == float64(int64(value)):
		digits = 0
	case value >= 100:
		digits = 0
	case value >= 10:
		digits = 1
	}
	return strconv.FormatFloat(value, 'f', digits, 64)
}
