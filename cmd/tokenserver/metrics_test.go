// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/options/tokenserveroptions"
	"connectedapps.dev/operator/internal/tokenserver"
	"connectedapps.dev/operator/internal/tokenserver/logqueue"
	"connectedapps.dev/operator/internal/tokenserver/metrics"
)

const metricsPage = "../../docs/metrics-tokenserver.md"

var updateMetricsPage = flag.Bool("update", false, "write the table of "+metricsPage+" anew")

// registered runs the parts of serve until each metric that they registered has a
// value.
func registered(t *testing.T) *prometheus.Registry {
	t.Helper()
	s := newSite(t)
	s.certificate()
	s.edit("publicURL: http:", "tlsCertFile: tls.crt\ntlsKeyFile: tls.key\npublicURL: https:")
	t.Chdir(s.dir)
	f, logger, registry := serveFlags{config: "tokenserver.yaml"}, slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	loaded, err := tokenserveroptions.Load(f.config, f.overrides)
	require.NoError(t, err)
	store, keyring, err := openDatabase(t.Context(), loaded.Config, firstKeys)
	require.NoError(t, err)
	r, err := newReloader(f, loaded, logger)
	require.NoError(t, err)
	registry.MustRegister(r.metrics()...)
	config := (&process{config: loaded.Config, reloader: r, logger: logger}).serverConfig(registry)
	config.Store, config.Keyring = store, keyring
	server, err := tokenserver.New(t.Context(), config)
	require.NoError(t, err)
	require.NoError(t, server.Load(t.Context()))
	require.NoError(t, metrics.WatchLog(registry, func() logqueue.Stats { return logqueue.Stats{} }))

	r.report(groupConfig, nil)
	w := httptest.NewRecorder()
	server.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, oauth.PathToken, http.NoBody))
	require.NotEqual(t, http.StatusOK, w.Code)
	collectOnce(t, server.Run, registry)
	require.NoError(t, store.Close())
	require.Error(t, store.Ping(t.Context()))
	return registry
}

// collectOnce runs until garbage was collected.
func collectOnce(t *testing.T, run func(context.Context), registry *prometheus.Registry) {
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { run(ctx); close(done) }()
	require.Eventually(t, func() bool {
		_, names := metricsTable(t, registry)
		return slices.Contains(names, "tokenserver_garbage_collected_rows_total")
	}, patience, patience/1000)
	stop()
	<-done
}

// metricsTable is one line for each metric.
func metricsTable(t *testing.T, registry *prometheus.Registry) (table string, names []string) {
	t.Helper()
	families, err := registry.Gather()
	require.NoError(t, err)
	var lines strings.Builder
	lines.WriteString("| name | type | labels | what it tells |\n|---|---|---|---|\n")
	for _, family := range families {
		labels := []string{}
		for _, pair := range family.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+pair.GetName()+"`")
		}
		names = append(names, family.GetName())
		fmt.Fprintf(&lines, "| `%s` | %s | %s | %s |\n", family.GetName(), strings.ToLower(family.GetType().String()), strings.Join(labels, ", "), family.GetHelp())
	}
	return lines.String(), names
}

// describedNames are the names of all that is registered, with a value or without.
func describedNames(registry *prometheus.Registry) []string {
	descriptions := make(chan *prometheus.Desc)
	go func() { registry.Describe(descriptions); close(descriptions) }()
	name := regexp.MustCompile(`fqName: "([^"]+)"`)
	var names []string
	for d := range descriptions {
		names = append(names, name.FindStringSubmatch(d.String())[1])
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func TestTheMetricsPageAgreesWithTheRegistry(t *testing.T) {
	page, err := os.ReadFile(metricsPage)
	require.NoError(t, err)
	wd, err := os.Getwd()
	require.NoError(t, err)
	registry := registered(t)
	t.Chdir(wd)
	want, names := metricsTable(t, registry)
	require.Equal(t, describedNames(registry), names, "registered() has to make each metric move once")

	const begin, end = "<!-- begin of the generated table -->\n\n", "\n<!-- end of the generated table -->"
	before, rest, found := strings.Cut(string(page), begin)
	require.True(t, found)
	table, after, found := strings.Cut(rest, end)
	require.True(t, found)
	if *updateMetricsPage {
		require.NoError(t, os.WriteFile(metricsPage, []byte(before+begin+want+end+after), 0o644))
		table = want
	}
	require.Equal(t, want, table, "go test ./cmd/tokenserver -run TestTheMetricsPageAgreesWithTheRegistry -update")
	for _, name := range regexp.MustCompile(`tokenserver_[a-z_]+`).FindAllString(before+after, -1) {
		require.Contains(t, names, strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count"), "an alert is about a metric that there is")
	}
	families, err := registry.Gather()
	require.NoError(t, err)
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
}

func TestEveryMetricHasOneOfThreePrefixes(t *testing.T) {
	r := newSite(t).start().ready()
	response, err := http.Get("http://" + r.operations + "/metrics")
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	var body bytes.Buffer
	_, err = body.ReadFrom(response.Body)
	require.NoError(t, err)
	require.Contains(t, body.String(), `tokenserver_build_info{go_version="go`)
	require.Contains(t, body.String(), `version="dev"} 1`)
	prefix := regexp.MustCompile(`^(#( HELP| TYPE))? ?(tokenserver|go|process)_`)
	for line := range strings.Lines(body.String()) {
		require.Regexp(t, prefix, line)
	}
}

// operationsAt makes a server that tells nothing answer at a known address.
func (s *site) operationsAt() string {
	s.t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(s.t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(s.t, err)
	require.NoError(s.t, listener.Close())
	address := listener.Addr().String()
	s.edit("operationsListen: 127.0.0.1:0", "operationsListen: "+address)
	return address
}

// startInto is start with another output for the log.
func (s *site) startInto(log *os.File) *server {
	s.t.Helper()
	r := &server{site: s, log: &output{}, operations: s.operationsAt()}
	r.cmd = exec.CommandContext(s.t.Context(), binary, "serve")
	r.cmd.Dir, r.cmd.Stderr = s.dir, log
	require.NoError(s.t, r.cmd.Start())
	s.t.Cleanup(func() { _ = r.cmd.Process.Kill(); _ = r.cmd.Wait() })
	return r
}

func TestLogLinesThatAreLostAreCounted(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	require.NoError(t, err)
	defer func() { _ = full.Close() }()
	r := newSite(t).startInto(full)
	r.eventually("ready", func() bool { return r.status(r.operations+"/readyz") == http.StatusOK })
	require.Positive(t, r.value("tokenserver_log_lost_lines_total"))
}
