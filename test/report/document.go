// SPDX-License-Identifier: Apache-2.0

package report

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Kept is a row of the document.
type Kept struct {
	Benchmark, Name string
	Value           float64
	// Commit is the one at which it was measured.
	Commit string
	line   string
}

// A table of the document stands between two comments; the first says whose rows it
// has.
const (
	beginMark  = "<!-- measured: "
	endOfBegin = " -->"
	endMark    = "<!-- end of measured -->"
)

const header = "| what | measured | budget | | by | at |\n|---|---|---|---|---|---|\n"

// Read returns the rows that a document has kept.
func Read(document string) ([]Kept, error) {
	var all []Kept
	inside := false
	for line := range strings.Lines(document) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, beginMark):
			inside = true
		case line == endMark:
			inside = false
		case inside && strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "|---") && !strings.HasPrefix(line, "| what |"):
			kept, err := parse(line)
			if err != nil {
				return nil, err
			}
			all = append(all, kept)
		}
	}
	return all, nil
}

// parse reads a line that format wrote.
func parse(line string) (Kept, error) {
	cells := strings.Split(strings.Trim(line, "|"), "|")
	if len(cells) != 6 {
		return Kept{}, fmt.Errorf("the row %q has %d columns, not 6", line, len(cells))
	}
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	text, _, _ := strings.Cut(cells[1], " ")
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return Kept{}, fmt.Errorf("the row %q has no number", line)
	}
	return Kept{Benchmark: strings.Trim(cells[4], "`"), Name: cells[0], Value: value, Commit: cells[5], line: line}, nil
}

func format(r Row, commit string) string {
	value := measure(r.Value, r.Unit)
	if r.Note != "" {
		value += " (" + r.Note + ")"
	}
	return fmt.Sprintf("| %s | %s | %s | %s | `%s` | %s |", r.Name, value, r.budget(), r.verdict(), r.Benchmark, commit)
}

// Keep puts rows into the table of a document that its benchmarks belong to, in place
// of all that each of these benchmarks has there.
func Keep(document string, rows []Row, commit string) (string, error) {
	for _, r := range rows {
		if strings.ContainsAny(r.Name+r.Unit+r.Note+r.Benchmark+commit, "|\n") {
			return "", fmt.Errorf("the row %q has a character that ends a cell", r.Name)
		}
	}
	var out strings.Builder
	rest, placed := document, 0
	for {
		before, after, found := strings.Cut(rest, beginMark)
		out.WriteString(before)
		if !found {
			break
		}
		owners, after, begun := strings.Cut(after, endOfBegin)
		table, after, ended := strings.Cut(after, endMark)
		if !begun || !ended {
			return "", errors.New("a table of the document has no end")
		}
		old, err := Read(beginMark + owners + endOfBegin + "\n" + table)
		if err != nil {
			return "", err
		}
		mine := slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return !owns(owners, r.Benchmark) })
		placed += len(mine)
		out.WriteString(beginMark + owners + endOfBegin + "\n\n" + header)
		for _, line := range merge(old, mine, commit, strings.Fields(owners)) {
			out.WriteString(line + "\n")
		}
		out.WriteString("\n" + endMark)
		rest = after
	}
	if placed != len(rows) {
		return "", fmt.Errorf("the document has a table for %d of %d rows", placed, len(rows))
	}
	return out.String(), nil
}

// owns tells whether a table has the rows of a benchmark, or of a part of it.
func owns(owners, benchmark string) bool {
	name, _, _ := strings.Cut(benchmark, "/")
	return slices.Contains(strings.Fields(owners), name)
}

// merge are the lines of a table, in the order of its benchmarks.
func merge(old []Kept, rows []Row, commit string, owners []string) []string {
	type entry struct{ benchmark, line string }
	var entries []entry
	for _, k := range old {
		if !slices.ContainsFunc(rows, func(r Row) bool { return r.Benchmark == k.Benchmark }) {
			entries = append(entries, entry{k.Benchmark, k.line})
		}
	}
	for _, r := range rows {
		entries = append(entries, entry{r.Benchmark, format(r, commit)})
	}
	place := func(e entry) int {
		name, _, _ := strings.Cut(e.benchmark, "/")
		return slices.Index(owners, name)
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return place(a) - place(b) })
	lines := make([]string, len(entries))
	for i, e := range entries {
		lines[i] = e.line
	}
	return lines
}

func find(all []Kept, r Row) (Kept, bool) {
	i := slices.IndexFunc(all, func(k Kept) bool { return k.Benchmark == r.Benchmark && k.Name == r.Name })
	if i < 0 {
		return Kept{}, false
	}
	return all[i], true
}
