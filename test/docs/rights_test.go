// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEveryRightOfTheManagerIsOnThePage holds the table of the page to what the
// roles are generated from: a row of the place names the resource and each verb.
func TestEveryRightOfTheManagerIsOnThePage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs/installation.md"))
	require.NoError(t, err)
	rows, place := map[string][]string{}, ""
	for _, row := range regexp.MustCompile(`(?m)^\| ([^|]*)\| ([^|]+)\| [^|]+\|$`).FindAllStringSubmatch(string(page), -1) {
		if where := strings.TrimSpace(row[1]); where != "" {
			place = where
		}
		rows[place] = append(rows[place], row[2])
	}
	source, err := os.ReadFile(filepath.Join(root, "internal/controller/rights.go"))
	require.NoError(t, err)
	markers := regexp.MustCompile(`resources=([^,]+),(?:resourceNames=([^,]+),)?(?:namespace=([^,]+),)?.*verbs=(\S+)`).FindAllStringSubmatch(string(source), -1)
	require.Greater(t, len(markers), 10)
	places := map[string]string{
		"": "the cluster", "tenant": "each namespace it serves", "connectedapps-system": "its own namespace, beside that",
	}
	for _, marker := range markers {
		words := strings.FieldsFunc(marker[2]+";"+marker[4], func(r rune) bool { return r == ';' })
		for _, resource := range strings.Split(marker[1], ";") {
			kind, sub, _ := strings.Cut(resource, "/")
			told := slices.ContainsFunc(rows[places[marker[3]]], func(row string) bool {
				return strings.Contains(row, "`"+kind) && strings.Contains(row, sub) &&
					!slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(row, word) })
			})
			assert.True(t, told, "docs/installation.md, %s: no row has %s with %v", places[marker[3]], resource, words)
		}
	}
}
