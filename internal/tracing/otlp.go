// SPDX-License-Identifier: Apache-2.0

package tracing

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// exporter sends spans as JSON. It is ours because the module that sends them in the
// binary form links all of gRPC, which is a tenth of the token server; collectors
// take either on the same address.
type exporter struct {
	url     string
	headers string // the file
	client  *http.Client
	logger  *slog.Logger
	// failing: the last request failed, and that was told.
	failing atomic.Bool
	// pause is before the first further try; each is twice as long.
	pause time.Duration
}

const (
	sendTimeout = 10 * time.Second
	sendTries   = 3
	longestWait = 10 * time.Second
)

func newExporter(o Options, logger *slog.Logger) (*exporter, error) {
	roots, err := readCA(o.CAFile)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // it is one
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	return &exporter{
		url: strings.TrimRight(o.Endpoint, "/") + "/v1/traces", headers: o.HeadersFile, logger: logger, pause: 200 * time.Millisecond,
		client: &http.Client{
			Transport: transport, Timeout: sendTimeout,
			// It would carry headers to another address.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// ExportSpans implements the interface of the SDK. Spans that cannot be sent are
// lost; that is logged once, and that it works again, too.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if len(spans) == 0 {
		return nil
	}
	body, err := json.Marshal(document(spans))
	if err == nil {
		err = e.deliver(ctx, body)
	}
	switch {
	case err != nil && !e.failing.Swap(true):
		e.logger.Error("spans cannot be sent; they are lost until that works again", "endpoint", e.url, "error", err)
	case err == nil && e.failing.Swap(false):
		e.logger.Info("spans are sent again", "endpoint", e.url)
	}
	return err
}

// Shutdown implements the interface of the SDK.
func (e *exporter) Shutdown(context.Context) error {
	e.client.CloseIdleConnections()
	return nil
}

// deliver sends a body, and again where the collector may take it later.
func (e *exporter) deliver(ctx context.Context, body []byte) error {
	pause := e.pause
	for try := 1; ; try++ {
		after, err := e.send(ctx, body)
		if err == nil || after < 0 || try == sendTries {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(min(max(pause, after), longestWait)):
		}
		pause *= 2
	}
}

// send makes one request. after is how long the collector wants to be left alone;
// below zero: another try has no use.
func (e *exporter) send(ctx context.Context, body []byte) (after time.Duration, err error) {
	headers, err := readHeaders(e.headers)
	if err != nil {
		return -1, fmt.Errorf("reading the headers: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return -1, errors.New("the endpoint cannot be requested")
	}
	request.Header = headers
	request.Header.Set("Content-Type", "application/json")
	response, err := e.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10))
	if response.StatusCode < http.StatusMultipleChoices {
		return 0, nil
	}
	// Its own words may be anything.
	err = fmt.Errorf("the collector answers %d %s", response.StatusCode, http.StatusText(response.StatusCode))
	switch response.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
		return time.Duration(min(max(seconds, 0), int(longestWait/time.Second))) * time.Second, err
	}
	return -1, err
}

// What follows is the JSON of ExportTraceServiceRequest
// (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding).

type traces struct {
	ResourceSpans []resourceSpans `json:"resourceSpans"`
}

type resourceSpans struct {
	Resource   attributed   `json:"resource"`
	ScopeSpans []scopeSpans `json:"scopeSpans"`
}

type attributed struct {
	Attributes []keyValue `json:"attributes"`
}

type scopeSpans struct {
	Scope struct {
		Name string `json:"name"`
	} `json:"scope"`
	Spans []span `json:"spans"`
}

type span struct {
	TraceID      string     `json:"traceId"`
	SpanID       string     `json:"spanId"`
	ParentSpanID string     `json:"parentSpanId,omitempty"`
	Flags        uint32     `json:"flags"`
	Name         string     `json:"name"`
	Kind         int        `json:"kind"`
	Start        int64      `json:"startTimeUnixNano,string"`
	End          int64      `json:"endTimeUnixNano,string"`
	Attributes   []keyValue `json:"attributes"`
	Status       *status    `json:"status,omitempty"`
}

type status struct {
	Code int `json:"code"`
}

type keyValue struct {
	Key   string         `json:"key"`
	Value map[string]any `json:"value"`
}

// Numbers of the specification: the status, and the flag that the parent is known to
// be remote or not.
const (
	statusError     = 2
	flagRemoteKnown = 0x100
	flagRemote      = 0x200
)

func document(spans []sdktrace.ReadOnlySpan) traces {
	// All are of one provider and one scope.
	r := resourceSpans{Resource: attributed{keyValues(spans[0].Resource().Attributes())}, ScopeSpans: make([]scopeSpans, 1)}
	r.ScopeSpans[0].Scope.Name = scope
	for _, s := range spans {
		r.ScopeSpans[0].Spans = append(r.ScopeSpans[0].Spans, spanOf(s))
	}
	return traces{[]resourceSpans{r}}
}

func spanOf(s sdktrace.ReadOnlySpan) span {
	self, parent := s.SpanContext(), s.Parent()
	made := span{
		TraceID: self.TraceID().String(), SpanID: self.SpanID().String(),
		Flags: uint32(self.TraceFlags()) | flagRemoteKnown, Name: s.Name(), Kind: int(s.SpanKind()),
		Start: s.StartTime().UnixNano(), End: s.EndTime().UnixNano(), Attributes: keyValues(s.Attributes()),
	}
	if parent.IsRemote() {
		made.Flags |= flagRemote
	}
	if id := parent.SpanID(); id.IsValid() {
		made.ParentSpanID = hex.EncodeToString(id[:])
	}
	if s.Status().Code == codes.Error {
		made.Status = &status{statusError}
	}
	return made
}

func keyValues(attributes []attribute.KeyValue) []keyValue {
	values := make([]keyValue, 0, len(attributes))
	for _, a := range attributes {
		values = append(values, keyValue{string(a.Key), valueOf(a.Value)})
	}
	return values
}

// valueOf is one of the kinds that we use, or a text.
func valueOf(v attribute.Value) map[string]any {
	switch v.Type() {
	case attribute.BOOL:
		return map[string]any{"boolValue": v.AsBool()}
	case attribute.INT64:
		return map[string]any{"intValue": strconv.FormatInt(v.AsInt64(), 10)}
	}
	return map[string]any{"stringValue": v.String()}
}
