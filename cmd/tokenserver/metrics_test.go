// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/options/tokenserveroptions"
	"connectedapps.dev/operator/internal/testenv/metricspage"
	"connectedapps.dev/operator/internal/tokenserver"
	"connectedapps.dev/operator/internal/tokenserver/logqueue"
	"connectedapps.dev/operator/internal/tokenserver/metrics"
)

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
		families, err := registry.Gather()
		require.NoError(t, err)
		for _, family := range families {
			if family.GetName() == "tokenserver_garbage_collected_rows_total" {
				return true
			}
		}
		return false
	}, patience, patience/1000)
	stop()
	<-done
}

func TestTheMetricsPageAgreesWithTheRegistry(t *testing.T) {
	wd, err := os.Getwd()
	require.NoError(t, err)
	registry := registered(t)
	t.Chdir(wd)
	names, prose := metricspage.Check(t, "../../docs/metrics-tokenserver.md", registry, "tokenserver_")
	for _, name := range regexp.MustCompile(`tokenserver_[a-z_]+`).FindAllString(prose, -1) {
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

func TestTheHeapGrowsToAFloorUnlessGOGCSaysOtherwise(t *testing.T) {
	require.InDelta(t, 700, newSite(t).start().ready().value("go_gc_gogc_percent"), 0, "28 MiB, seven times the runtime's least")
	t.Setenv("GOGC", "50")
	require.InDelta(t, 50, newSite(t).start().ready().value("go_gc_gogc_percent"), 0)
}
