// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"go/ast"
	"go/parser"
	"go/token"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEachActionHasALabel reads the constants, so that a new one is not
// forgotten.
func TestEachActionHasALabel(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../plan/plan.go", nil, 0)
	require.NoError(t, err)
	kinds := 0
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			if name, ok := spec.Type.(*ast.Ident); ok && name.Name == "Kind" {
				kinds++
			}
		}
		return true
	})
	require.Positive(t, kinds)
	require.Len(t, labels, kinds)
}
