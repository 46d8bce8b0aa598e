// SPDX-License-Identifier: Apache-2.0

package tracing

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestACollectorIsLeftAloneForSoLongAtMost(t *testing.T) {
	for after, want := range map[string]time.Duration{
		"": 0, "2": 2 * time.Second, "-1": 0, "3600": longestWait, "9223372036": longestWait, "9223372036854775807": longestWait, "99999999999999999999": longestWait,
		"Fri, 27 Nov 2026 00:00:00 GMT": 0,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", after)
			w.WriteHeader(http.StatusServiceUnavailable)
		}))
		e, err := newExporter(Options{Endpoint: server.URL}, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		got, err := e.send(t.Context(), nil)
		require.EqualError(t, err, "the collector answers 503 Service Unavailable")
		require.Equal(t, want, got, after)
		require.NoError(t, e.Shutdown(t.Context()))
		server.Close()
	}
}

func TestWhatACollectorSaysIsNeitherReadToTheEndNorLogged(t *testing.T) {
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		defer close(ended)
		connection, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = connection.Close() }()
		_, err = io.WriteString(connection, "HTTP/1.1 400 no s3cret of mine\r\n\r\n")
		for err == nil {
			_, err = io.WriteString(connection, "s3cret, and more of it\n")
		}
	}))
	defer server.Close()
	e, err := newExporter(Options{Endpoint: server.URL}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	after, err := e.send(t.Context(), nil)
	require.EqualError(t, err, "the collector answers 400 Bad Request")
	require.Negative(t, after)
	<-ended
}
