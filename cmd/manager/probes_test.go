// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whoever holds connections open does not keep the kubelet out.
func TestProbesAreAnsweredBesideIdleConnections(t *testing.T) {
	server, err := probes("127.0.0.1:0", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.False(t, server.NeedLeaderElection(), "one that waits to be the leader is ready")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Start(ctx) }()
	address := server.Listener.Addr().String()
	for range 100 {
		conn, err := net.Dial("tcp", address)
		require.NoError(t, err)
		defer conn.Close()
	}
	for _, path := range []string{"/healthz", "/readyz", "/healthz/ping"} {
		response, err := http.Get("http://" + address + path)
		require.NoError(t, err)
		_ = response.Body.Close()
		require.Equal(t, http.StatusOK, response.StatusCode, path)
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	require.NoError(t, <-done)
}
