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

const root = "../.."

// walk calls visit with the content of each file of the repository whose name
// ends so.
func walk(t *testing.T, suffix string, visit func(path, text string)) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && slices.Contains([]string{"bin", "dist", "node_modules", ".git"}, entry.Name()) {
			return filepath.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(path, suffix) {
			return nil
		}
		text, err := os.ReadFile(path)
		if err == nil {
			visit(path, string(text))
		}
		return err
	}))
}

func TestEveryTestThatADocumentNamesExists(t *testing.T) {
	declared := map[string]bool{}
	declaration := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	walk(t, "_test.go", func(_, text string) {
		for _, match := range declaration.FindAllStringSubmatch(text, -1) {
			declared[match[1]] = true
		}
	})
	named := 0
	mention := regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z0-9]\\w+)`")
	walk(t, ".md", func(path, text string) {
		for _, match := range mention.FindAllStringSubmatch(text, -1) {
			named++
			require.True(t, declared[match[1]], "%s names %s, which does not exist", path, match[1])
		}
	})
	require.NotZero(t, named)
}

// TestEveryEndNamesItsTest holds each row of the table to a test of its cells.
func TestEveryEndNamesItsTest(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "revocation.md"))
	require.NoError(t, err)
	rows := regexp.MustCompile(`(?m)^\| .* \|$`).FindAllString(string(text), -1)
	require.Greater(t, len(rows), 20)
	for _, row := range rows[1:] {
		require.Regexp(t, "\\| `Test[A-Z]\\w+` \\|$", row)
	}
}

var codeOnPage = regexp.MustCompile("(?ms)^ *```.*?^ *```$|`[^`\n]+`")

// withoutCode is a page without what only looks like links, as a pattern does.
func withoutCode(text string) string { return codeOnPage.ReplaceAllString(text, "``") }

// TestLinksBetweenDocumentsLead checks links to files of the repository.
func TestLinksBetweenDocumentsLead(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)`)
	walk(t, ".md", func(path, text string) {
		for _, match := range link.FindAllStringSubmatch(withoutCode(text), -1) {
			if strings.Contains(match[1], "://") || strings.HasPrefix(match[1], "mailto:") {
				continue
			}
			_, err := os.Stat(filepath.Join(filepath.Dir(path), match[1]))
			require.NoError(t, err, "%s links to %s", path, match[1])
		}
	})
}

// TestLinksBetweenDocumentsLeadToAHeading checks the part after '#'.
func TestLinksBetweenDocumentsLeadToAHeading(t *testing.T) {
	headings := map[string]map[string]bool{}
	heading := regexp.MustCompile(`(?m)^#+ (.+)$`)
	notInAnchors := regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	walk(t, ".md", func(path, text string) {
		headings[path] = map[string]bool{}
		for _, match := range heading.FindAllStringSubmatch(text, -1) {
			anchor := notInAnchors.ReplaceAllString(strings.ToLower(match[1]), "")
			headings[path][strings.ReplaceAll(anchor, " ", "-")] = true
		}
	})
	link := regexp.MustCompile(`\]\(([^)#\s]*)#([^)\s]+)\)`)
	walk(t, ".md", func(path, text string) {
		for _, match := range link.FindAllStringSubmatch(withoutCode(text), -1) {
			if strings.Contains(match[1], "://") {
				continue
			}
			target := path
			if match[1] != "" {
				target = filepath.Join(filepath.Dir(path), match[1])
			}
			if known, isPage := headings[target]; isPage {
				require.True(t, known[match[2]], "%s links to %s#%s", path, match[1], match[2])
			}
		}
	})
}
