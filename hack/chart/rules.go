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
	// row of the tables of docs/runbooks: state and page, query, for, severity.
	row = regexp.MustCompile("^\\| \\[([^]]+)\\]\\(([a-z-]+)\\.md\\) \\| `(.+)` \\| (\\w+) \\| (page|ticket) \\|$")
	// meaning is the first paragraph of a page.
	meaning = regexp.MustCompile(`(?s)\n## What it means\n\n(.+?)\n\n`)
	link    = regexp.MustCompile(`\[([^]]+)\]\([^)]+\)`)
)

// rules are the alerts of docs/runbooks, one group for each of its tables.
func rules(root string) ([]byte, error) {
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
		a, err := newAlert(folder, cells[1], cells[2], cells[3], cells[4], cells[5])
		if err != nil {
			return nil, err
		}
		last := &groups[len(groups)-1]
		last.Rules = append(last.Rules, a)
	}
	out, err := yaml.Marshal(map[string]any{"groups": groups})
	return append(fmt.Appendf(nil, header, "docs/runbooks"), out...), err
}

func newAlert(folder, state, page, query, duration, severity string) (alert, error) {
	text, err := os.ReadFile(filepath.Join(folder, page+".md"))
	if err != nil {
		return alert{}, err
	}
	paragraph := meaning.FindSubmatch(text)
	if paragraph == nil {
		return alert{}, fmt.Errorf("%s.md does not say what it means", page)
	}
	description := strings.ReplaceAll(link.ReplaceAllString(string(paragraph[1]), "$1"), "\n", " ")
	name := "ConnectedApps"
	for word := range strings.SplitSeq(page, "-") {
		name += strings.ToUpper(word[:1]) + word[1:]
	}
	return alert{
		Alert: name, Expr: strings.ReplaceAll(query, `\|`, "|"), For: duration, Labels: map[string]string{"severity": severity},
		Annotations: map[string]string{"summary": state, "description": description, "runbook": page + ".md"},
	}, nil
}
