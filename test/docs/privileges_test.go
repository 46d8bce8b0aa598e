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

// otherWays give power over an app and are no members of its body.
var otherWays = []string{
	"`resetSecret`", "`POST …/secrets`", "`external_id`: repeated creation", "reading a recoverable secret", "`PUT …/scopes`", "`PATCH …/scopes`",
	"`DELETE …/scopes`", "`client_id`: restore", "deletion",
}

// TestEveryMemberOfAnAppHasARowAmongThePrivileges, and every row names its test:
// a member that is added later must not be forgotten there.
func TestEveryMemberOfAnAppHasARowAmongThePrivileges(t *testing.T) {
	rows := privilegeRows(t)
	var changes strings.Builder
	for _, row := range rows {
		require.Len(t, row, 5, "%v", row)
		require.Regexp(t, "`Test[A-Z]", row[4], "the row of %s names no test", row[0])
		changes.WriteString(row[0] + "\n")
	}
	source, err := os.ReadFile(filepath.Join(root, "internal/tokenserver/endpoint/management/appbody.go"))
	require.NoError(t, err)
	members := regexp.MustCompile(`(?m)^\t"([a-z_]+)":\s+member\(`).FindAllStringSubmatch(string(source), -1)
	require.Greater(t, len(members), 20)
	for _, member := range members {
		assert.Contains(t, changes.String(), "`"+member[1]+"`", "docs/privileges.md has no row for a member of an app")
	}
	for _, way := range otherWays {
		assert.Contains(t, changes.String(), way)
	}
}

// privilegeRows are the cells of the table of changes.
func privilegeRows(t *testing.T) [][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs/privileges.md"))
	require.NoError(t, err)
	_, table, found := strings.Cut(string(text), "| change | power it gives |")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n\n")
	var rows [][]string
	for _, line := range strings.Split(table, "\n")[2:] {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		rows = append(rows, cells)
	}
	require.NotEmpty(t, rows)
	return rows
}
