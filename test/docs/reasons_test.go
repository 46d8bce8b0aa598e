// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEveryReasonHasARow holds the pages of the kinds to the reasons that the
// kinds may show, and the page of ConnectedApps to the Events of its controller
// as well: a reader finds what it means and what to do, and nothing that is no
// longer shown.
func TestEveryReasonHasARow(t *testing.T) {
	conditions := constants(t, "api/v1alpha1/conditions.go")
	events := constants(t, "internal/controller/connectedapp/events.go")
	of := func(groups map[string][]string, heading string) []string {
		require.NotEmpty(t, groups[heading], "there is no group of constants with the comment %q", heading)
		return groups[heading]
	}
	app := of(conditions, "Reasons any kind may show.")
	app = append(app, of(conditions, "Reasons of a ConnectedApp.")...)
	app = append(app, of(events, "Reasons of Events that are no reasons of a condition.")...)
	assert.ElementsMatch(t, app, reasonRows(t, "connectedapps.md", 4), "docs/spec/v1alpha1/connectedapps.md")

	server := of(conditions, "Reasons of a TokenServer.")
	assert.Subset(t, reasonRows(t, "tokenservers.md", 3), server, "docs/spec/v1alpha1/tokenservers.md")
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
