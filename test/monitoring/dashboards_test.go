// SPDX-License-Identifier: Apache-2.0

package monitoring

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/testenv"
)

// dashboard is what we read of Grafana's.
type dashboard struct {
	name       string
	Title      string  `json:"title"`
	Panels     []panel `json:"panels"`
	Templating struct {
		List []variable `json:"list"`
	} `json:"templating"`
}

type panel struct {
	Type        string `json:"type"`
	Title       string `json:"title"`
	GridPos     struct{ X, Y, W, H int }
	Targets     []query `json:"targets"`
	FieldConfig struct {
		Defaults struct {
			Unit   string `json:"unit"`
			Custom struct {
				Stacking struct {
					Mode string `json:"mode"`
				} `json:"stacking"`
			} `json:"custom"`
			Thresholds struct {
				Steps []struct {
					Value *float64 `json:"value"`
					Color string   `json:"color"`
				} `json:"steps"`
			} `json:"thresholds"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
}

type query struct {
	Expr   string `json:"expr"`
	Legend string `json:"legendFormat"`
}

type variable struct {
	Name       string `json:"name"`
	Type       string `json:"type"`
	Definition string `json:"definition"`
}

// dashboards are all that there are.
func dashboards(t testing.TB) []dashboard {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(testenv.ModuleRoot(), "config", "monitoring", "dashboards", "*.json"))
	require.NoError(t, err)
	require.Len(t, files, 3)
	all := make([]dashboard, len(files))
	for i, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &all[i]))
		all[i].name = strings.TrimSuffix(filepath.Base(file), ".json")
	}
	return all
}

// eachQuery calls f with every query of every panel.
func (d *dashboard) eachQuery(f func(panel, query)) {
	for _, panel := range d.Panels {
		for _, q := range panel.Targets {
			f(panel, q)
		}
	}
}

var labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)

// choices are the values of all variables, as Grafana has them for "All". Each must
// have one.
func (d *dashboard) choices(t testing.TB, r *require.Assertions, p *prometheus) *strings.Replacer {
	t.Helper()
	// Four scrapes and more.
	known := []string{"$__rate_interval", "10s"}
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		asked := labelValues.FindStringSubmatch(v.Definition)
		require.NotNil(t, asked, "%s: %s", d.Title, v.Definition)
		found := p.values(t, asked[2], strings.NewReplacer(known...).Replace(asked[1]))
		r.NotEmpty(found, "%s: the variable %s has no values: %s", d.Title, v.Name, v.Definition)
		for i := range found {
			// In a text of PromQL, where a backslash stands for itself twice.
			found[i] = strings.ReplaceAll(regexp.QuoteMeta(found[i]), `\`, `\\`)
		}
		known = append(known, "$"+v.Name, "("+strings.Join(found, "|")+")")
	}
	return strings.NewReplacer(known...)
}
