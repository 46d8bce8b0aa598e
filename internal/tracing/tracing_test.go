// SPDX-License-Identifier: Apache-2.0

package tracing_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"connectedapps.dev/operator/internal/tracing"
	"connectedapps.dev/operator/internal/tracing/tracingtest"
)

func started(t *testing.T, o tracing.Options) (*tracing.Tracing, *bytes.Buffer) {
	t.Helper()
	log := &bytes.Buffer{}
	tracer, err := tracing.Start(o, tracing.Service{Name: "test", Version: "v1"}, slog.New(slog.NewTextHandler(log, nil)))
	require.NoError(t, err)
	return tracer, log
}

func one(t *tracing.Tracing) {
	_, span := t.Tracer().Start(context.Background(), "one")
	span.End()
}

func TestACollectorReadsEachFieldOfASpan(t *testing.T) {
	collector := tracingtest.Start(t)
	tracer, log := started(t, tracing.Options{Endpoint: collector.URL + "/", SampleRatio: 1})
	begin := time.Now()
	ctx, outer := tracer.Tracer().Start(t.Context(), "outer", trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.Int("number", 7), attribute.Bool("yes", true), attribute.String("text", "ünïcode \x00")))
	tracing.Database(ctx, "sqlite", "select apps", begin, true)
	outer.End()
	tracer.Close(t.Context())
	require.Empty(t, log.String())

	spans := collector.Spans()
	require.Len(t, spans, 2)
	inner, got := spans[0], spans[1]
	self := trace.SpanContextFromContext(ctx)
	require.Equal(t, self.TraceID().String(), got.TraceID().String())
	require.Equal(t, self.SpanID().String(), got.SpanID().String())
	require.True(t, got.ParentSpanID().IsEmpty())
	require.Equal(t, "outer", got.Name())
	require.Equal(t, "Server", got.Kind().String())
	require.Equal(t, "Unset", got.Status().Code().String())
	require.Equal(t, map[string]any{"number": int64(7), "yes": true, "text": "ünïcode \x00"}, got.Attributes().AsRaw())
	require.WithinDuration(t, begin, got.StartTimestamp().AsTime(), time.Minute)
	require.GreaterOrEqual(t, got.EndTimestamp(), got.StartTimestamp())

	require.Equal(t, got.SpanID(), inner.ParentSpanID())
	require.Equal(t, got.TraceID(), inner.TraceID())
	require.Equal(t, begin.UnixNano(), int64(inner.StartTimestamp()))
	require.Equal(t, "Client", inner.Kind().String())
	require.Equal(t, "Error", inner.Status().Code().String())
	require.Equal(t, "sqlite", inner.Attributes().AsRaw()["db.system.name"])
	require.Equal(t, "test", inner.Service)
}

func TestWhatACollectorAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		answers []int
		arrives bool
		logged  string
	}{
		"it is busy, and takes them then": {[]int{http.StatusServiceUnavailable, http.StatusTooManyRequests}, true, ""},
		"it refuses":                      {[]int{http.StatusUnauthorized}, false, "the collector answers 401 Unauthorized"},
		"it leads elsewhere":              {[]int{http.StatusFound}, false, "the collector answers 302 Found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			collector := tracingtest.Start(t, c.answers...)
			tracer, log := started(t, tracing.Options{Endpoint: collector.URL, SampleRatio: 1})
			one(tracer)
			tracer.Close(t.Context())
			require.Equal(t, c.arrives, len(collector.Spans()) == 1)
			require.Contains(t, log.String(), c.logged)
			if c.logged == "" {
				require.Empty(t, log.String())
			}
		})
	}
}

func TestACollectorThatIsAwayIsToldOnceAndHoldsNobodyUp(t *testing.T) {
	tracer, log := started(t, tracing.Options{Endpoint: "http://127.0.0.1:1", SampleRatio: 1})
	one(tracer)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	tracer.Close(ctx)
	one(tracer) // after the end, too
	require.LessOrEqual(t, strings.Count(log.String(), "spans cannot be sent"), 1)
}

func TestHeadersAreReadForEveryRequest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "headers")
	require.NoError(t, os.WriteFile(file, []byte("Authorization: Bearer first\n\nX-Tenant: a\n"), 0o600))
	collector := tracingtest.Start(t)
	o := tracing.Options{Endpoint: collector.URL, SampleRatio: 1, HeadersFile: file}
	tracer, _ := started(t, o)
	one(tracer)
	require.NoError(t, os.WriteFile(file, []byte("Authorization: Bearer second\n"), 0o600))
	tracer.Close(t.Context())
	require.Equal(t, "Bearer second", collector.Headers().Get("Authorization"))
	require.Empty(t, collector.Headers().Get("X-Tenant"))
}

func TestWrongOptionsAreNamed(t *testing.T) {
	folder := t.TempDir()
	secret := filepath.Join(folder, "secret")
	require.NoError(t, os.WriteFile(secret, []byte("s3cret without a colon"), 0o600))
	control := filepath.Join(folder, "control")
	require.NoError(t, os.WriteFile(control, []byte("X-Tenant: a\r\nAuthorization: Bearer s3cret\x00\n"), 0o600))
	for name, c := range map[string]struct {
		options tracing.Options
		want    string
	}{
		"no URL":            {tracing.Options{Endpoint: "collector:4318"}, "endpoint: must be the URL of a collector, such as http://collector.observability:4318"},
		"a password":        {tracing.Options{Endpoint: "http://me:s3cret@collector"}, "endpoint: must have no password in it: put what authenticates into headersFile"},
		"a query":           {tracing.Options{Endpoint: "http://collector?key=s3cret"}, "endpoint: must have no query and no fragment"},
		"more than all":     {tracing.Options{Endpoint: "http://collector", SampleRatio: 1.5}, "sampleRatio: must be a number from 0 to 1, not 1.5"},
		"a bad header":      {tracing.Options{Endpoint: "http://collector", HeadersFile: secret}, "headersFile: " + secret + ": line 1 is not NAME: VALUE"},
		"a bad value":       {tracing.Options{Endpoint: "http://collector", HeadersFile: control}, "headersFile: " + control + ": line 2 is not NAME: VALUE"},
		"no certificate":    {tracing.Options{Endpoint: "http://collector", CAFile: secret}, "caFile: " + secret + " holds no PEM certificate"},
		"a file is missing": {tracing.Options{Endpoint: "http://collector", CAFile: folder + "/none"}, "caFile: open " + folder + "/none: no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tracing.Start(c.options, tracing.Service{}, nil)
			require.EqualError(t, err, c.want)
			require.NotContains(t, err.Error(), "s3cret")
		})
	}
	require.Len(t, (&tracing.Options{HeadersFile: secret}).Validate(), 1, "headers for nobody")
}

// Without a collector nothing is made: not a span, not a header, not a byte.
func TestWithoutACollectorTracingCostsNothing(t *testing.T) {
	var off *tracing.Tracing
	ctx, err := t.Context(), errors.New("x")
	handler := slog.DiscardHandler
	require.Equal(t, handler, off.Handler(handler))
	require.Nil(t, off.Tracer())
	transport := &http.Transport{}
	require.Same(t, transport, off.Transport(transport))
	off.Close(ctx)
	require.Zero(t, testing.AllocsPerRun(100, func() { tracing.Database(ctx, "sqlite", "select apps", time.Time{}, err != nil) }))
}

func TestARequestTakesTheTraceAlong(t *testing.T) {
	collector := tracingtest.Start(t)
	tracer, _ := started(t, tracing.Options{Endpoint: collector.URL, SampleRatio: 1})
	var got http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		w.WriteHeader(http.StatusNotFound)
	}))
	defer server.Close()
	client := &http.Client{Transport: tracer.Transport(&http.Transport{})}
	defer client.CloseIdleConnections()
	ask := func(ctx context.Context) *http.Request {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/path?token=s3cret", http.NoBody)
		require.NoError(t, err)
		response, err := client.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return request
	}
	ask(t.Context())
	require.Empty(t, got.Get("traceparent"), "outside of any span")
	ctx, span := tracer.Tracer().Start(t.Context(), "pass")
	request := ask(ctx)
	span.End()
	require.Contains(t, got.Get("traceparent"), span.SpanContext().TraceID().String())
	require.Empty(t, request.Header.Get("traceparent"), "the caller's request is the caller's")
	tracer.Close(t.Context())
	require.Len(t, collector.Spans(), 2)
	attributes := collector.Spans()[0].Attributes().AsRaw()
	require.Equal(t, "/path", attributes["url.path"])
	require.Equal(t, int64(404), attributes["http.response.status_code"])
}

func TestALineOfTheLogNamesItsSpan(t *testing.T) {
	collector := tracingtest.Start(t)
	tracer, _ := started(t, tracing.Options{Endpoint: collector.URL, SampleRatio: 1})
	var log bytes.Buffer
	logger := slog.New(tracer.Handler(slog.NewTextHandler(&log, nil))).With("a", 1)
	ctx, span := tracer.Tracer().Start(t.Context(), "pass")
	logger.InfoContext(ctx, "inside")
	span.End()
	logger.InfoContext(t.Context(), "outside")
	inside, outside, _ := strings.Cut(log.String(), "\n")
	require.Contains(t, inside, "a=1 trace_id="+span.SpanContext().TraceID().String()+" span_id="+span.SpanContext().SpanID().String())
	require.NotContains(t, outside, "trace_id")
	tracer.Close(t.Context())
}
