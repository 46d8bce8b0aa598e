// SPDX-License-Identifier: Apache-2.0

package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// scope is the instrumentation scope of all spans.
const scope = "connectedapps.dev/operator"

// Options say where spans are sent.
type Options struct {
	// Endpoint is the URL of a collector of OTLP over HTTP, to which /v1/traces is
	// added; empty: no spans are made.
	Endpoint string `yaml:"endpoint"`
	// SampleRatio is the share of the traces begun here that is recorded, from 0 to
	// 1. Who calls with a trace of its own has decided for it.
	SampleRatio float64 `yaml:"sampleRatio"`
	// HeadersFile has a line NAME: VALUE for each header to send, read anew for
	// every request; empty: none.
	HeadersFile string `yaml:"headersFile"`
	// CAFile verifies the collector's certificate; empty: the system's do.
	CAFile string `yaml:"caFile"`
}

// DefaultSampleRatio records every trace.
const DefaultSampleRatio = 1

// maxQueue is how many spans may wait, maxBatch how many are sent at once.
const (
	maxQueue = 2048
	maxBatch = 512
)

// Service is whose spans they are.
type Service struct{ Name, Version string }

// Tracing makes spans; nil makes none.
type Tracing struct{ provider *sdktrace.TracerProvider }

// Start makes what sends spans; nil when options name no endpoint. The error names
// the option that is wrong.
func Start(options Options, service Service, logger *slog.Logger) (*Tracing, error) {
	if options.Endpoint == "" {
		return nil, nil //nolint:nilnil // nil is no tracing
	}
	if problems := append(options.Validate(), options.ValidateFiles()...); len(problems) > 0 {
		errs := make([]error, len(problems))
		for i, p := range problems {
			errs[i] = fmt.Errorf("%s: %w", p.Field, p.Err)
		}
		return nil, errors.Join(errs...)
	}
	exporter, err := newExporter(options, logger)
	if err != nil {
		return nil, err
	}
	// What it tells, the exporter has logged.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {}))
	return start(exporter, options.SampleRatio, service), nil
}

func start(exporter sdktrace.SpanExporter, ratio float64, service Service) *Tracing {
	return &Tracing{provider: sdktrace.NewTracerProvider(
		// Said here, for a variable of the environment would count otherwise.
		sdktrace.WithBatcher(exporter, sdktrace.WithMaxQueueSize(maxQueue), sdktrace.WithMaxExportBatchSize(maxBatch)),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(ratio))),
		sdktrace.WithRawSpanLimits(sdktrace.SpanLimits{
			AttributeValueLengthLimit: 256, AttributeCountLimit: 32,
		}),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", service.Name), attribute.String("service.version", service.Version),
		)),
	)}
}

// Tracer begins spans; nil when there is no tracing.
func (t *Tracing) Tracer() trace.Tracer {
	if t == nil {
		return nil
	}
	return t.provider.Tracer(scope)
}

// Handler adds the ids of the trace and the span to what is logged in one.
func (t *Tracing) Handler(next slog.Handler) slog.Handler {
	if t == nil {
		return next
	}
	return logHandler{next}
}

// Transport is next, with a span for each request and the trace's id on its way.
func (t *Tracing) Transport(next http.RoundTripper) http.RoundTripper {
	if t == nil {
		return next
	}
	return transport{next}
}

// Close sends what is left, for as long as ctx lets it.
func (t *Tracing) Close(ctx context.Context) {
	if t != nil {
		_ = t.provider.Shutdown(ctx) // the exporter logs what fails
	}
}
