// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const runbooks = root + "/docs/runbooks"

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// runbookPages are the pages by their name, without the index.
func runbookPages(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(runbooks + "/*.md")
	require.NoError(t, err)
	pages := map[string]string{}
	for _, file := range files {
		if name := filepath.Base(file); name != "README.md" {
			pages[name] = read(t, file)
		}
	}
	require.Greater(t, len(pages), 20)
	return pages
}

// queriesOf are the queries of a page, one in a line.
func queriesOf(t *testing.T, name, page string) []string {
	t.Helper()
	_, block, found := strings.Cut(page, "```promql\n")
	require.True(t, found, name)
	block, _, found = strings.Cut(block, "\n```")
	require.True(t, found, name)
	return strings.Split(block, "\n")
}

func TestEveryRunbookIsInTheIndexWithItsQueries(t *testing.T) {
	listed := map[string][]string{}
	row := regexp.MustCompile("(?m)^\\| \\[([^]]+)\\]\\(([^)]+)\\) \\| (ConnectedApps[A-Z]\\w+) \\| `(.+)` \\| (\\d+[mhd]) \\| (page|ticket) \\|$")
	index := read(t, runbooks+"/README.md")
	pages := runbookPages(t)
	alerts := map[string]bool{}
	for _, cells := range row.FindAllStringSubmatch(index, -1) {
		name := cells[2]
		listed[name] = append(listed[name], strings.ReplaceAll(cells[4], `\|`, "|"))
		require.False(t, alerts[cells[3]], "%s is the name of two", cells[3])
		alerts[cells[3]] = true
		require.True(t, strings.HasPrefix(pages[name], "# "+cells[1]+"\n"), "%s has another title", name)
	}
	require.Len(t, row.FindAllString(index, -1), strings.Count(index, "\n| ["), "each row is well formed")
	for name, page := range pages {
		assert.Equal(t, queriesOf(t, name, page), listed[name], name)
		headings := regexp.MustCompile(`(?m)^## .*$`).FindAllString(page, -1)
		assert.Equal(t, []string{"## What it means", "## Who notices", "## How to see it", "## What to do", "## What not to do"}, headings, name)
	}
	require.Len(t, pages, len(listed))
}

// knownMetric is one of our metrics.
type knownMetric struct {
	histogram bool
	labels    string // its cell of the page
}

// metricRows are the metrics by their rows, which other tests hold to the programs.
func metricRows(t *testing.T) map[string]knownMetric {
	t.Helper()
	known := map[string]knownMetric{}
	row := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (\\w+) \\| ([^|]*)\\|")
	for _, page := range []string{"metrics-tokenserver.md", "metrics-operator.md", "metrics-refresher.md"} {
		for _, cells := range row.FindAllStringSubmatch(read(t, filepath.Join(root, "docs", page)), -1) {
			known[cells[1]] = knownMetric{cells[2] == "histogram", cells[3]}
		}
	}
	require.Greater(t, len(known), 40)
	return known
}

func (m knownMetric) has(label string) bool {
	return strings.Contains(m.labels, "`"+label+"`") || (m.histogram && label == "le")
}

// wordsOf are the reasons, conditions, Events and kinds that the manager shows.
func wordsOf(t *testing.T) map[string]bool {
	t.Helper()
	words := map[string]bool{}
	for _, kind := range []string{"ConnectedApp", "AccessToken", "TokenServer", "ServiceAccount", "Secret", "Pending", "ContainerCreating"} {
		words[kind] = true
	}
	for _, path := range []string{
		"api/v1alpha1/conditions.go", "internal/controller/connectedapp/events.go", "internal/controller/tokenserver/events.go", "internal/bootstrap/report.go",
	} {
		for _, value := range regexp.MustCompile(`(?m)^\t\w+ += "([A-Z]\w+)"$`).FindAllStringSubmatch(read(t, filepath.Join(root, path)), -1) {
			words[value[1]] = true
		}
	}
	require.Greater(t, len(words), 60)
	return words
}

// sourceOf is all of the source of some folders.
func sourceOf(t *testing.T, folders ...string) string {
	t.Helper()
	var source strings.Builder
	for _, folder := range folders {
		require.NoError(t, filepath.WalkDir(filepath.Join(root, folder), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			source.WriteString(read(t, path))
			return nil
		}))
	}
	return source.String()
}

var (
	codeSpan   = regexp.MustCompile("`([^`\n]+)`")
	ourMetric  = regexp.MustCompile(`\b((?:tokenserver|connectedapp|connectedapps_refresher)_[a-z_]+)(?:\{([^}]*)\})?`)
	matcher    = regexp.MustCompile(`([a-z_]+)(?:=~|!=|!~|=)"([^"]*)"`)
	camelCase  = regexp.MustCompile(`^[A-Z][A-Za-z]+$`)
	ownFlag    = regexp.MustCompile(`^--([a-z-]+)(?:=.*)?$`)
	freeLabels = []string{"code", "grant", "kind", "namespace", "ready", "tokenserver"} // of which the values are not listed
)

// TestRunbooksNameWhatThereIs holds every metric, label, reason, condition, Event and
// log line of the pages to the programs.
func TestRunbooksNameWhatThereIs(t *testing.T) {
	metrics, words := metricRows(t), wordsOf(t)
	logs := map[string]string{
		"the token server": sourceOf(t, "internal/tokenserver", "cmd/tokenserver"),
		"the manager":      sourceOf(t, "internal/controller", "internal/bootstrap"),
	}
	flags := sourceOf(t, "cmd/tokenserver", "internal/options")
	values := read(t, filepath.Join(root, "docs/metrics-tokenserver.md")) + read(t, filepath.Join(root, "docs/metrics-operator.md"))
	pages := runbookPages(t)
	pages["README.md"] = strings.ReplaceAll(read(t, runbooks+"/README.md"), `\|`, "|")
	for name, page := range pages {
		for _, used := range ourMetric.FindAllStringSubmatch(page, -1) {
			checkMetric(t, name, used[1], used[2], metrics, words, values)
		}
		for _, span := range codeSpan.FindAllStringSubmatch(page, -1) {
			if camelCase.MatchString(span[1]) && !strings.HasPrefix(span[1], "Test") {
				assert.True(t, words[span[1]], "%s: nothing shows %s", name, span[1])
			}
			if flag := ownFlag.FindStringSubmatch(span[1]); flag != nil && flag[1] != "previous" {
				if !strings.Contains(flags, `"`+flag[1]+`"`) {
					t.Errorf("%s: there is no flag %s", name, span[1])
				}
			}
		}
		whole := strings.ReplaceAll(page, "\n  ", " ")
		for _, line := range regexp.MustCompile(`(?m)^- Log of (the token server|the manager)(.*)$`).FindAllStringSubmatch(whole, -1) {
			checkLog(t, name, line[2], logs[line[1]])
		}
	}
}

func checkMetric(t *testing.T, page, name, matchers string, metrics map[string]knownMetric, words map[string]bool, values string) {
	t.Helper()
	m, ok := metrics[name]
	for _, suffix := range []string{"_bucket", "_count", "_sum"} {
		if base, cut := strings.CutSuffix(name, suffix); !ok && cut {
			m, ok = metrics[base], metrics[base].histogram
		}
	}
	assert.True(t, ok, "%s: there is no metric %s", page, name)
	for _, label := range matcher.FindAllStringSubmatch(matchers, -1) {
		assert.True(t, m.has(label[1]), "%s: %s has no label %s", page, name, label[1])
		if slices.Contains(freeLabels, label[1]) {
			continue
		}
		for value := range strings.SplitSeq(label[2], "|") {
			assert.True(t, words[value] || strings.Contains(values, "`"+value+"`"), "%s: %s is never %q", page, label[1], value)
		}
	}
}

// checkLog holds what a line says of a log to the texts that are logged: a message,
// an attribute, or an attribute with its value.
func checkLog(t *testing.T, page, line, source string) {
	t.Helper()
	for _, span := range codeSpan.FindAllStringSubmatch(line, -1) {
		if strings.HasPrefix(span[1], "--") {
			continue
		}
		for word := range strings.SplitSeq(strings.ReplaceAll(span[1], `"`, ""), "=") {
			if !strings.Contains(source, `"`+word) {
				t.Errorf("%s: no log has %q", page, word)
			}
		}
	}
}

// TestEveryReasonOfATokenServerHasARunbook: the platform team is told of each.
func TestEveryReasonOfATokenServerHasARunbook(t *testing.T) {
	reasons := constants(t, "api/v1alpha1/conditions.go")["Reasons of a TokenServer."]
	require.NotEmpty(t, reasons)
	var all strings.Builder
	for _, page := range runbookPages(t) {
		all.WriteString(page)
	}
	for _, reason := range reasons {
		assert.True(t, regexp.MustCompile("[`\"|]"+reason+"[`\"|]").MatchString(all.String()), "no runbook names %s", reason)
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
