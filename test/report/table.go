// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// The bar of a row ends at one and a half times its budget; a mark stands at the
// budget.
const (
	barWidth = 24
	barMark  = barWidth * 2 / 3
)

// bar shows how much of the budget the value is. A value that must reach its budget
// crosses the mark, one that must not exceed it ends before.
func (r Row) bar() string {
	if r.Budget == nil {
		return strings.Repeat(" ", barWidth+1)
	}
	filled := barWidth
	switch {
	case r.Value <= 0:
		filled = 0
	case *r.Budget > 0:
		filled = min(barWidth, int(r.Value / *r.Budget * barMark))
	}
	cells := strings.Repeat("█", filled) + strings.Repeat("·", barWidth-filled)
	runes := []rune(cells)
	return string(runes[:barMark]) + "|" + string(runes[barMark:])
}

// columns of a line: what, value, bar, budget, verdict, the rest.
func columns(r Row, rest string) []string {
	return []string{r.Name, measure(r.Value, r.Unit), r.bar(), r.budget(), r.verdict(), rest}
}

// Line is a row on its own.
func Line(r Row) string {
	return strings.TrimRight(strings.Join(columns(r, r.Note), "  "), " ")
}

// Table is what rows say, in aligned columns, by benchmark; before are the rows that
// were kept of an earlier run.
func Table(rows []Row, before []Kept) string {
	var out strings.Builder
	cells := make([][]string, len(rows))
	widths := make([]int, 6)
	for i, r := range rows {
		cells[i] = columns(r, remark(r, before))
		for c, cell := range cells[i] {
			widths[c] = max(widths[c], utf8.RuneCountInString(cell))
		}
	}
	for i, r := range rows {
		if i == 0 || rows[i-1].Benchmark != r.Benchmark {
			fmt.Fprintf(&out, "%s\n", r.Benchmark)
		}
		line := "  "
		for c, cell := range cells[i] {
			padding := strings.Repeat(" ", widths[c]-utf8.RuneCountInString(cell))
			if c == 1 || c == 3 { // numbers stand on the right
				cell = padding + cell
			} else {
				cell += padding
			}
			line += cell + "  "
		}
		out.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return out.String()
}

// remark is what a row has to say beside its number: how it compares, and its note.
func remark(r Row, before []Kept) string {
	var parts []string
	if old, ok := find(before, r); ok {
		if r.Fell(old.Value) {
			parts = append(parts, fmt.Sprintf("FELL from %s at %s", number(old.Value), old.Commit))
		} else {
			parts = append(parts, "before "+number(old.Value))
		}
	}
	if r.Note != "" {
		parts = append(parts, r.Note)
	}
	return strings.Join(parts, "; ")
}

// Fallen are the rows that fell by more than a tenth.
func Fallen(rows []Row, before []Kept) (fallen []Row) {
	for _, r := range rows {
		if old, ok := find(before, r); ok && r.Fell(old.Value) {
			fallen = append(fallen, r)
		}
	}
	return fallen
}
