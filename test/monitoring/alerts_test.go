// SPDX-License-Identifier: Apache-2.0

package monitoring

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/internal/testenv"
)

// rule is an alert of the file that make manifests writes.
type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type group struct {
	Name  string `json:"name"`
	Rules []rule `json:"rules"`
}

type ruleFile struct {
	Groups []group `json:"groups"`
}

var rulesPath = filepath.Join(testenv.ModuleRoot(), "charts", "connectedapps", "files", "rules.yaml")

func readRules(t *testing.T) ruleFile {
	t.Helper()
	var file ruleFile
	readYAML(t, rulesPath, &file)
	return file
}

// each calls f with every alert.
func (r ruleFile) each(f func(*rule)) {
	for _, group := range r.Groups {
		for i := range group.Rules {
			f(&group.Rules[i])
		}
	}
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(text, into))
}

// executable is one of those that make prometheus builds.
func executable(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(testenv.ModuleRoot(), "bin", "prometheus", name)
	require.FileExists(t, path, "run make prometheus")
	return path
}

// promtool must succeed.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), executable(t, "promtool"), args...).CombinedOutput()
	require.NoError(t, err, "promtool %s\n%s", strings.Join(args, " "), out)
}

func TestPrometheusTakesTheAlerts(t *testing.T) {
	promtool(t, "check", "rules", "--lint=all", "--lint-fatal", rulesPath)
}

func TestEveryAlertLinksItsRunbook(t *testing.T) {
	readRules(t).each(func(r *rule) {
		page := path.Base(r.Annotations["runbook_url"])
		text, err := os.ReadFile(filepath.Join(testenv.ModuleRoot(), "docs", "runbooks", page))
		if assert.NoError(t, err, r.Alert) {
			assert.Contains(t, string(text), r.Expr, r.Alert)
		}
	})
}

// TestAlertsFireInTheirStateAlone has promtool play the states of testdata: each
// alert fires in one of them and is silent in one.
func TestAlertsFireInTheirStateAlone(t *testing.T) {
	folder := t.TempDir()
	rules := readRules(t)
	// Promtool compares annotations as well: they are the texts of the pages.
	rules.each(func(r *rule) { r.Annotations = nil })
	text, err := yaml.Marshal(rules)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "rules.yaml"), text, 0o600))
	require.NoError(t, os.CopyFS(folder, os.DirFS("testdata")))

	files, err := filepath.Glob(filepath.Join("testdata", "*.yaml"))
	require.NoError(t, err)
	fires, silent := map[string]bool{}, map[string]bool{}
	arguments := []string{"test", "rules"}
	for _, file := range files {
		countCases(t, file, fires, silent)
		arguments = append(arguments, filepath.Join(folder, filepath.Base(file)))
	}
	rules.each(func(r *rule) {
		assert.True(t, fires[r.Alert], "%s never fires", r.Alert)
		assert.True(t, silent[r.Alert], "%s is never silent", r.Alert)
	})
	promtool(t, arguments...)
}

// countCases notes the alerts that fire and those that do not in a file of tests.
func countCases(t *testing.T, path string, fires, silent map[string]bool) {
	t.Helper()
	var file struct {
		Tests []struct {
			Cases []struct {
				Alert string `json:"alertname"`
				Fires []any  `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		} `json:"tests"`
	}
	readYAML(t, path, &file)
	for _, test := range file.Tests {
		for _, c := range test.Cases {
			if len(c.Fires) > 0 {
				fires[c.Alert] = true
			} else {
				silent[c.Alert] = true
			}
		}
	}
}
