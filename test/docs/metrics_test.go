// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEveryMetricOfTheOperatorHasARow compares the names in the source with the
// page.
func TestEveryMetricOfTheOperatorHasARow(t *testing.T) {
	var exported []string
	name := regexp.MustCompile(`"(connectedapp_[a-z_]+)"`)
	err := filepath.WalkDir("../../internal/controller", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, found := range name.FindAllStringSubmatch(string(source), -1) {
			exported = append(exported, found[1])
		}
		return err
	})
	require.NoError(t, err)
	page, err := os.ReadFile("../../docs/metrics-operator.md")
	require.NoError(t, err)
	var rows []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(connectedapp_[a-z_]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		rows = append(rows, row[1])
	}
	slices.Sort(exported)
	slices.Sort(rows)
	require.Equal(t, exported, rows)
}
