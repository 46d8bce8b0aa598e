// SPDX-License-Identifier: Apache-2.0

package main

import "strings"

var (
	inText = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "*", `\*`, "|", `\|`, "[", `\[`, "]", `\]`)
	inCell = strings.NewReplacer("|", `\|`)
)

// text is plain text, with whatever Markdown would take for its own escaped.
func text(s string) string { return inText.Replace(strings.Join(strings.Fields(s), " ")) }

// code is a code span within a cell of a table.
func code(s string) string {
	if strings.Contains(s, "`") {
		return "`` " + inCell.Replace(s) + " ``"
	}
	return "`" + inCell.Replace(s) + "`"
}

// codes are code spans, separated by commas.
func codes(list []string) string {
	spans := make([]string, len(list))
	for i, s := range list {
		spans[i] = code(s)
	}
	return strings.Join(spans, ", ")
}

// table has one row for each list of cells, the first of which is its head.
func table(rows ...[]string) string {
	var b strings.Builder
	for i, row := range rows {
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
	return b.String()
}

// fenced is a block of code.
func fenced(language, s string) string {
	return "```" + language + "\n" + strings.TrimRight(s, "\n") + "\n```\n"
}
