// SPDX-License-Identifier: Apache-2.0

package plugin

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

	"connectedapps.dev/operator/internal/testenv"
)

func TestEveryReasonHasANextStep(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(testenv.ModuleRoot(), "api/v1alpha1/conditions.go"), nil, 0)
	require.NoError(t, err)
	reasons := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Reason") {
			return true
		}
		reasons++
		reason, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		require.NoError(t, err)
		step, known := nextSteps[reason]
		assert.True(t, known, "%s has no next step", reason)
		if step != nothingToDo {
			assert.Contains(t, []string{forAppTeam, forPlatformTeam, forNobody}, step.Who, reason)
			assert.Regexp(t, `^[A-Z].*\.$`, step.What, reason)
		}
		return true
	})
	require.Len(t, nextSteps, reasons, "and no other has one")
}

// TestTheReferenceSaysTheSameNextSteps: the last cell of a reason's row, but for
// where to read on.
func TestTheReferenceSaysTheSameNextSteps(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(testenv.ModuleRoot(), "docs/reference/conditions.md"))
	require.NoError(t, err)
	link, rows := regexp.MustCompile(` \(\[[^\]]+\]\([^)]+\)\)`), 0
	for table := range strings.SplitSeq(string(page), "\n\n") {
		if !strings.HasPrefix(table, "| reason |") {
			continue // of conditions
		}
		for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|.*\\| (.*) \\|$").FindAllStringSubmatch(table, -1) {
			step, known := nextSteps[row[1]]
			if !known {
				continue // of Events alone
			}
			rows++
			if step == nothingToDo {
				step.What = "–"
			}
			assert.Equal(t, step.What, strings.ReplaceAll(link.ReplaceAllString(row[2], ""), "`", ""), row[1])
		}
	}
	require.GreaterOrEqual(t, rows, len(nextSteps))
}
