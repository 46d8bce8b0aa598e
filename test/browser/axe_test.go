// SPDX-License-Identifier: Apache-2.0

package browser

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// axeTags are the rules that must hold: WCAG 2.2 AA and axe's own good practice.
const axeTags = `["wcag2a","wcag2aa","wcag21a","wcag21aa","wcag22aa","best-practice"]`

type axeViolation struct {
	ID, Help string
	Nodes    []struct {
		Target         []any
		FailureSummary string
	}
}

func axeSource(t *testing.T) string {
	t.Helper()
	path := os.Getenv("AXE_CORE")
	if path == "" {
		path = filepath.Join(moduleRoot(t), "bin", "browser", "node_modules", "axe-core", "axe.min.js")
	}
	source, err := os.ReadFile(path)
	require.NoError(t, err, "axe-core is installed by the Makefile's browser-tools target")
	return string(source)
}

// requireAccessible runs axe-core over the page as it stands.
func (b *tab) requireAccessible() {
	b.t.Helper()
	require.True(b.t, evaluate[bool](b, axeSource(b.t)+";true"))
	violations := evaluate[[]axeViolation](b, `axe.run(document, {runOnly: `+axeTags+`}).then(r => r.violations.map(v => ({
		ID: v.id, Help: v.help, Nodes: v.nodes.map(n => ({Target: n.target, FailureSummary: n.failureSummary}))})))`)
	var report strings.Builder
	for _, v := range violations {
		fmt.Fprintf(&report, "%s: %s\n", v.ID, v.Help)
		for _, node := range v.Nodes {
			fmt.Fprintf(&report, "  %v: %s\n", node.Target, node.FailureSummary)
		}
	}
	require.Empty(b.t, report.String(), "accessibility of %s", b.url())
}
