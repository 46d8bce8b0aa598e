// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEveryReasonHasARow holds the pages of the kinds to the reasons of their
// conditions and Events: a reader finds what each means and what to do, and
// nothing that is no longer shown.
func TestEveryReasonHasARow(t *testing.T) {
	conditions := constants(t, "api/v1alpha1/conditions.go")
	of := func(groups map[string][]string, heading string) []string {
		require.NotEmpty(t, groups[heading], "there is no group of constants with the comment %q", heading)
		return groups[heading]
	}
	events := func(controller string) []string {
		return of(constants(t, "internal/controller/"+controller+"/events.go"), "Reasons of Events that are no reasons of a condition.")
	}
	for page, row := range map[string]struct {
		cells   int
		reasons [][]string
	}{
		"connectedapps.md": {4, [][]string{
			of(conditions, "Reasons any kind may show."), of(conditions, "Reasons of the condition WorkloadsCurrent."),
			of(conditions, "Reasons of a ConnectedApp."), events("connectedapp"),
		}},
		"tokenservers.md": {3, [][]string{
			{"Ready", "Progressing", "WriteFailed"}, of(conditions, "Reasons of a TokenServer."), events("tokenserver"),
		}},
	} {
		t.Run(page, func(t *testing.T) {
			require.ElementsMatch(t, slices.Concat(row.reasons...), reasonRows(t, page, row.cells))
		})
	}
}

// constants are the values of a file's string constants, by the comment of their
// group.
func constants(t *testing.T, path string) map[string][]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, path), nil, parser.ParseComments)
	require.NoError(t, err)
	groups := map[string][]string{}
	for _, declaration := range file.Decls {
		group, ok := declaration.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		heading := strings.TrimSpace(group.Doc.Text())
		for _, spec := range group.Specs {
			value, err := strconv.Unquote(spec.(*ast.ValueSpec).Values[0].(*ast.BasicLit).Value)
			require.NoError(t, err)
			groups[heading] = append(groups[heading], value)
		}
	}
	return groups
}

// reasonRows are the reasons in the last table of a page, none of whose cells is
// empty.
func reasonRows(t *testing.T, page string, cells int) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs/spec/v1alpha1", page))
	require.NoError(t, err)
	_, table, found := strings.Cut(string(text), "## Reasons\n")
	require.True(t, found)
	var reasons []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|.*$").FindAllStringSubmatch(table, -1) {
		columns := strings.Split(strings.Trim(row[0], "|"), "|")
		require.Len(t, columns, cells, "%s: the row of %s", page, row[1])
		for _, column := range columns {
			require.NotEmpty(t, strings.TrimSpace(column), "%s: the row of %s", page, row[1])
		}
		reasons = append(reasons, row[1])
	}
	return reasons
}
