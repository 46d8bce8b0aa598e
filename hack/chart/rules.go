// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"
)

// runbooks is where the pages are for whoever gets an alert.
const runbooks = "https://connectedapps.dev/docs/runbooks"

// alert is an alerting rule of Prometheus.
type alert struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

type group struct {
	Name  string  `json:"name"`
	Rules []alert `json:"rules"`
}

var (
	// row of the tables of docs/runbooks: state and page, alert, query, for, severity.
	row = regexp.MustCompile("^\\| \\[([^]]+)\\]\\(([a-z-]+)\\.md\\) \\| (\\w+) \\| `(.+)` \\| (\\w+) \\| (page|ticket) \\|$")
	// meaning is the first paragraph of a page.
	meaning = regexp.MustCompile(`(?s)\n## What it means\n\n(.+?)\n\n`)
	link    = regexp.MustCompile(`\[([^]]+)\]\([^)]+\)`)
)

// readRules reads the alerts of docs/runbooks, a group for each of its tables.
func readRules(root string) ([]group, error) {
	folder := filepath.Join(root, "docs", "runbooks")
	text, err := os.ReadFile(filepath.Join(folder, "README.md"))
	if err != nil {
		return nil, err
	}
	var groups []group
	for line := range strings.Lines(string(text)) {
		if title, found := strings.CutPrefix(line, "## "); found {
			groups = append(groups, group{Name: "connectedapps-" + strings.ReplaceAll(strings.ToLower(strings.TrimSpace(title)), " ", "-")})
		}
		cells := row.FindStringSubmatch(strings.TrimSpace(line))
		if cells == nil {
			continue
		}
		a, err := newAlert(folder, cells[2])
		if err != nil {
			return nil, err
		}
		a.Alert, a.Expr, a.For = cells[3], strings.ReplaceAll(cells[4], `\|`, "|"), cells[5]
		a.Labels["severity"], a.Annotations["summary"] = cells[6], cells[1]
		last := &groups[len(groups)-1]
		last.Rules = append(last.Rules, a)
	}
	return groups, nil
}

// ruleFile is what Prometheus reads.
func ruleFile(groups []group) ([]byte, error) {
	out, err := yaml.Marshal(map[string]any{"groups": groups})
	return append(fmt.Appendf(nil, header, "docs/runbooks"), out...), err
}

// newAlert is an alert without its query: the page says what it means.
func newAlert(folder, page string) (alert, error) {
	text, err := os.ReadFile(filepath.Join(folder, page+".md"))
	if err != nil {
		return alert{}, err
	}
	paragraph := meaning.FindSubmatch(text)
	if paragraph == nil {
		return alert{}, fmt.Errorf("%s.md does not say what it means", page)
	}
	description := strings.ReplaceAll(link.ReplaceAllString(string(paragraph[1]), "$1"), "\n", " ")
	return alert{
		Labels:      map[string]string{},
		Annotations: map[string]string{"description": description, "runbook_url": runbooks + "/" + page + ".md"},
	}, nil
}

// prometheusRule is the object of the Prometheus operator with the groups.
func prometheusRule(groups []group) ([]byte, error) {
	out, err := yaml.Marshal(map[string]any{
		"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule",
		"metadata": map[string]string{"name": "connectedapps", "namespace": "connectedapps-system"},
		"spec":     map[string]any{"groups": groups},
	})
	return append(fmt.Appendf(nil, header, "docs/runbooks"), out...), err
}
