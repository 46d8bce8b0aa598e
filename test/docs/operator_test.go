// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEveryStateOfTheManagerIsPlanned holds each row of the table of states to a
// row of TestMake, or to another test that it names.
func TestEveryStateOfTheManagerIsPlanned(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs/operator.md"))
	require.NoError(t, err)
	source, err := os.ReadFile(filepath.Join(root, "internal/plan/plan_test.go"))
	require.NoError(t, err)
	_, table, found := strings.Cut(string(source), "func TestMake(")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n}\n")

	rows := regexp.MustCompile(`(?m)^\| (.+) \| .+ \|$`).FindAllStringSubmatch(string(page), -1)
	require.Greater(t, len(rows), 20)
	quoted := regexp.MustCompile(`"[^"]+"`)
	for _, row := range rows[1:] {
		states := quoted.FindAllString(row[1], -1)
		if len(states) == 0 {
			assert.Regexp(t, "`Test[A-Z]", row[1], "neither a row of TestMake nor a test")
		}
		for _, state := range states {
			assert.Regexp(t, `(?m)^\t\t`+regexp.QuoteMeta(state)+`:`, table, "docs/operator.md tells of a state that TestMake does not have")
		}
	}
}
