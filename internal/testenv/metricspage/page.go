// SPDX-License-Identifier: Apache-2.0

// Package metricspage holds pages of docs to the metrics that programs tell. Each page
// has a table between two comments, which a test compares and, with the flag -update,
// writes.
package metricspage

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"
)

const begin, end = "<!-- begin of the generated table -->\n\n", "\n<!-- end of the generated table -->"

var update = flag.Bool("update", false, "write the tables of pages about metrics anew")

var (
	header = regexp.MustCompile(`(?m)^# (HELP|TYPE) (\S+) (.*)$`)
	label  = regexp.MustCompile(`[{,](\w+)="(?:[^"\\]|\\.)*"`)
)

// Check compares the table of a page with the metrics of a registry whose names have a
// prefix. Each that is registered must have a value, or its labels and its type would
// not be told. It returns their names and the page without the table.
func Check(t testing.TB, page string, registry prometheus.Gatherer, prefix string) (names []string, prose string) {
	t.Helper()
	recorder := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
	_, names = tableOf(recorder.Body.String(), prefix)
	require.Equal(t, described(registry.(prometheus.Collector), prefix), names, "the test has to make each metric move once")
	return CheckText(t, page, recorder.Body.String(), prefix)
}

// described are the names of all that is registered, with a value or without.
func described(registry prometheus.Collector, prefix string) []string {
	descriptions := make(chan *prometheus.Desc)
	go func() { registry.Describe(descriptions); close(descriptions) }()
	name := regexp.MustCompile(`fqName: "([^"]+)"`)
	var names []string
	for d := range descriptions {
		if found := name.FindStringSubmatch(d.String())[1]; strings.HasPrefix(found, prefix) {
			names = append(names, found)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// CheckText is Check for what a program answers that has no registry.
func CheckText(t testing.TB, page, metrics, prefix string) (names []string, prose string) {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(text), begin)
	require.True(t, found, "%s has no table", page)
	table, after, found := strings.Cut(rest, end)
	require.True(t, found, "%s has no end of its table", page)

	want, names := tableOf(metrics, prefix)
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(before+begin+want+end+after), 0o600)) //nolint:gosec // the test names its page
		table = want
	}
	require.Equal(t, want, table, "go test . -run %s -update", t.Name())
	require.NotEmpty(t, names)
	return names, before + after
}

// tableOf is one row for each metric.
func tableOf(metrics, prefix string) (table string, names []string) {
	help, kind := map[string]string{}, map[string]string{}
	for _, found := range header.FindAllStringSubmatch(metrics, -1) {
		if name := found[2]; found[1] == "HELP" {
			help[name] = found[3]
			names = append(names, name)
		} else {
			kind[name] = found[3]
		}
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, prefix) })
	slices.Sort(names)
	var rows strings.Builder
	rows.WriteString("| name | type | labels | what it tells |\n|---|---|---|---|\n")
	for _, name := range names {
		fmt.Fprintf(&rows, "| `%s` | %s | %s | %s |\n", name, kind[name], labelsOf(metrics, name), help[name])
	}
	return rows.String(), names
}

// labelsOf are the labels that series of a metric have, but for those of its buckets.
func labelsOf(metrics, name string) string {
	var labels []string
	for _, series := range regexp.MustCompile(`(?m)^`+name+`(?:_bucket|_sum|_count)?(\{.*\}) `).FindAllString(metrics, -1) {
		for _, found := range label.FindAllStringSubmatch(series, -1) {
			if found[1] != "le" && !slices.Contains(labels, "`"+found[1]+"`") {
				labels = append(labels, "`"+found[1]+"`")
			}
		}
	}
	slices.Sort(labels)
	return strings.Join(labels, ", ")
}
