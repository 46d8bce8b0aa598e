// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// flooded starts a server beside more idle connections than it takes.
func flooded(t *testing.T, server *manager.Server) (address string) {
	t.Helper()
	require.False(t, server.NeedLeaderElection(), "one that waits to be the leader answers too")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Start(ctx) }()
	address = server.Listener.Addr().String()
	var idle []net.Conn
	for range 300 {
		connection, err := net.Dial("tcp", address)
		require.NoError(t, err)
		idle = append(idle, connection)
	}
	_, err := idle[0].Read(make([]byte, 1))
	require.Error(t, err, "the first gives way")
	t.Cleanup(func() {
		for _, connection := range idle {
			_ = connection.Close()
		}
		cancel()
		require.NoError(t, <-done)
	})
	return address
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	response, err := client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(text)
}

// Whoever holds connections open does not keep the kubelet out.
func TestProbesAreAnsweredBesideIdleConnections(t *testing.T) {
	server, err := probes("127.0.0.1:0", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	address := flooded(t, server)
	for _, path := range []string{"/healthz", "/readyz", "/healthz/ping"} {
		status, _ := get(t, "http://"+address+path)
		require.Equal(t, http.StatusOK, status, path)
	}
}

// Nor a scraper; over TLS, whoever has no token is answered and told nothing.
func TestMetricsAreAnsweredBesideIdleConnections(t *testing.T) {
	for name, secure := range map[string]bool{"plain": false, "secure": true} {
		t.Run(name, func(t *testing.T) {
			var handler http.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1") })
			scheme, want := "http", http.StatusOK
			if secure {
				var err error
				handler, err = guarded(handler, &rest.Config{Host: "https://127.0.0.1:1"}, http.DefaultClient, logr.Discard())
				require.NoError(t, err)
				scheme, want = "https", http.StatusUnauthorized
			}
			server, err := metricsServer("127.0.0.1:0", secure, handler, slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			status, body := get(t, scheme+"://"+flooded(t, server)+"/metrics")
			require.Equal(t, want, status, body)
			require.Equal(t, !secure, strings.Contains(body, "up"))
		})
	}
}
