// SPDX-License-Identifier: Apache-2.0

package tokenserveroptions

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a configuration file.
type Problem struct {
	// Path is the field, such as organizations[1].environments[0].id; empty:
	// the file as a whole.
	Path string
	// Line counts from 1; 0: unknown.
	Line int
	// Message says what is wrong and what is right.
	Message string
}

// String is "line 4: users[0].id: is required".
func (p Problem) String() string {
	var b strings.Builder
	if p.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", p.Line)
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Problems is all that is wrong with a configuration file, in the order of its
// lines. As an error it has one line for each.
type Problems []Problem

// Error implements error.
func (p Problems) Error() string {
	if len(p) == 1 {
		return p[0].String()
	}
	lines := []string{fmt.Sprintf("%d problems", len(p))}
	for _, problem := range p {
		lines = append(lines, "  "+problem.String())
	}
	return strings.Join(lines, "\n")
}

// err is nil when there are none.
func (p Problems) err() error {
	if len(p) == 0 {
		return nil
	}
	sorted := slices.Clone(p)
	slices.SortStableFunc(sorted, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Path, b.Path))
	})
	return sorted
}

// positions is the line of every path that the file holds.
type positions map[string]int

// line of a path, or of the nearest one around it when the path itself is not
// in the file.
func (p positions) line(path string) int {
	for {
		if line, ok := p[path]; ok {
			return line
		}
		end := strings.LastIndexAny(path, ".[")
		if end < 0 {
			return 0
		}
		path = path[:end]
	}
}
