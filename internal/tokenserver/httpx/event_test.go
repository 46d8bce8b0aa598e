// SPDX-License-Identifier: Apache-2.0

package httpx_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tracing"
	"connectedapps.dev/operator/internal/tracing/tracingtest"
)

// observed serves a handler as the token server does, in spans of which it records
// those that callers ask for. ended returns what the collector got, and the log.
func observed(t *testing.T, handle http.HandlerFunc) (url string, ended func() ([]tracingtest.Span, string)) {
	t.Helper()
	collector := tracingtest.Start(t)
	spans, err := tracing.Start(tracing.Options{Endpoint: collector.URL}, tracing.Service{Name: "tokenserver"}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	log := &bytes.Buffer{}
	observer, err := httpx.NewObserver(slog.New(spans.Handler(slog.NewJSONHandler(log, nil))), prometheus.NewRegistry())
	require.NoError(t, err)
	observer.Tracer = spans.Tracer()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /apps/{id}", handle)
	server := httptest.NewServer(observer.Wrap(mux))
	t.Cleanup(server.Close)
	return server.URL, func() ([]tracingtest.Span, string) {
		server.Close()
		spans.Close(t.Context())
		return collector.Spans(), log.String()
	}
}

func asked(t *testing.T, url string, headers map[string]string) (status int, err error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

const (
	theirTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	traceparent = "00-" + theirTrace + "-00f067aa0ba902b7-01"
)

func TestATraceOfAStrangerIsTakenWhenItIsOne(t *testing.T) {
	for name, c := range map[string]struct {
		traceparent string
		recorded    bool
	}{
		"one that is recorded":     {traceparent, true},
		"of a later version":       {"cc" + traceparent[2:] + "-more", true},
		"one that is not recorded": {strings.TrimSuffix(traceparent, "1") + "0", false},
		"none":                     {"", false},
		"all zero":                 {"00-00000000000000000000000000000000-0000000000000000-01", false},
		"no parent":                {"00-" + theirTrace + "-0000000000000000-01", false},
		"of no version":            {"ff" + traceparent[2:], false},
		"in capitals":              {strings.ToUpper(traceparent), false},
		"too long":                 {traceparent + "-more", false},
		"huge":                     {strings.Repeat(traceparent, 100), false},
		"other signs":              {"00-" + strings.Repeat("<\"'>", 8) + "-00f067aa0ba902b7-01", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, ended := observed(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
			status, err := asked(t, url+"/apps/1", map[string]string{"Traceparent": c.traceparent})
			require.NoError(t, err)
			require.Equal(t, http.StatusNoContent, status)
			spans, log := ended()
			require.Len(t, spans, map[bool]int{true: 1, false: 0}[c.recorded])
			require.Contains(t, log, `"trace_id":"`)
			if c.recorded {
				require.Equal(t, theirTrace, spans[0].TraceID().String())
				require.Equal(t, "GET /apps/{id}", spans[0].Name())
			}
		})
	}
}

// TestASpanKeepsNothingLongOfAStranger: 2,048 of them wait for a collector.
func TestASpanKeepsNothingLongOfAStranger(t *testing.T) {
	var state []string
	for i := range 32 {
		state = append(state, fmt.Sprintf("k%d%s=%s", i, strings.Repeat("k", 200), strings.Repeat("v", 256)))
	}
	var inside trace.SpanContext
	url, ended := observed(t, func(_ http.ResponseWriter, r *http.Request) {
		inside = trace.SpanContextFromContext(r.Context())
		httpx.EventOf(r.Context()).ClientID = strings.Repeat("c", 10_000)
	})
	_, err := asked(t, url+"/apps/"+strings.Repeat("p", 1000)+"?q="+strings.Repeat("q", 1000), map[string]string{
		"Traceparent": traceparent, "Tracestate": strings.Join(state, ","), "Baggage": "user=" + strings.Repeat("b", 1000), "User-Agent": strings.Repeat("u", 1000),
	})
	require.NoError(t, err)
	spans, _ := ended()
	require.Len(t, spans, 1)
	require.Zero(t, inside.TraceState().Len())
	require.Empty(t, spans[0].TraceState().AsRaw())
	for name, value := range spans[0].Attributes().AsRaw() {
		require.LessOrEqual(t, len(fmt.Sprint(value)), 256, name)
	}
}

func TestAPanicIsAnErrorInItsSpanAndNoMore(t *testing.T) {
	for name, c := range map[string]struct {
		cause  any
		status int
	}{
		"a mistake":                    {"s3cret", http.StatusInternalServerError},
		"an answer that is broken off": {http.ErrAbortHandler, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, ended := observed(t, func(http.ResponseWriter, *http.Request) { panic(c.cause) })
			status, err := asked(t, url+"/apps/1", map[string]string{"Traceparent": traceparent})
			require.Equal(t, c.status, status)
			require.Equal(t, c.status == 0, err != nil)
			spans, log := ended()
			require.Len(t, spans, 1)
			require.Zero(t, spans[0].Events().Len())
			require.NotContains(t, fmt.Sprint(spans[0].Attributes().AsRaw()), "s3cret")
			if c.status != 0 {
				require.Equal(t, "Error", spans[0].Status().Code().String())
				require.Contains(t, log, `"trace_id":"`+theirTrace)
			}
		})
	}
}
