// SPDX-License-Identifier: Apache-2.0

// Package tracingtest is a collector for tests: it reads what it is sent with the
// decoder of OpenTelemetry's own collector.
package tracingtest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

// Collector keeps the spans that were sent to it.
type Collector struct {
	URL string

	mu    sync.Mutex
	spans []Span
	// headers are those of the last request.
	headers http.Header
	answers []int
}

// Span is a span and whose it is.
type Span struct {
	ptrace.Span
	Service string
}

// Start serves until the test ends. Its first answers are those statuses.
func Start(t testing.TB, answers ...int) *Collector {
	t.Helper()
	c := &Collector{answers: answers}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		assert.Equal(t, "/v1/traces", r.URL.Path)
		assert.Equal(t, "application/json", r.Header.Get("Content-Type"))
		w.WriteHeader(c.take(t, r.Header, body))
	}))
	t.Cleanup(server.Close)
	c.URL = server.URL
	return c
}

func (c *Collector) take(t testing.TB, headers http.Header, body []byte) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.headers = headers.Clone()
	if len(c.answers) > 0 {
		answer := c.answers[0]
		c.answers = c.answers[1:]
		if answer != http.StatusOK {
			return answer
		}
	}
	request := ptraceotlp.NewExportRequest()
	if err := request.UnmarshalJSON(body); err != nil {
		t.Errorf("%v in %s", err, body)
		return http.StatusBadRequest
	}
	for _, resource := range request.Traces().ResourceSpans().All() {
		service, _ := resource.Resource().Attributes().Get("service.name")
		for _, scope := range resource.ScopeSpans().All() {
			for _, span := range scope.Spans().All() {
				c.spans = append(c.spans, Span{span, service.Str()})
			}
		}
	}
	return http.StatusOK
}

// Spans are those that have arrived.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Span(nil), c.spans...)
}

// Headers are those of the last request.
func (c *Collector) Headers() http.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.headers
}
