// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/logline"
	"connectedapps.dev/operator/internal/tracing"
)

// Event is the one log event of a request. Endpoints fill it on the way; it
// never holds a secret, a query or a body.
type Event struct {
	// ClientID is the app, once it is known.
	ClientID string
	// GrantType is one of package oauth's, or empty.
	GrantType string
	// Workload is whose token authenticated the app: an issuer's name and a subject.
	Workload string
	// Remote is the address of the caller: what a trusted proxy tells, else the
	// peer's, without port.
	Remote  string
	failure *oauth.Error
}

// Fail notes why the request failed; nil: it did not.
func (e *Event) Fail(failure *oauth.Error) { e.failure = failure }

type eventKey struct{}

// exchange is what is kept of one request while it is answered: the context that
// holds its event, and the status.
type exchange struct {
	context.Context //nolint:containedctx // it is one
	event           Event
	statusRecorder
}

// Value implements context.Context.
func (x *exchange) Value(key any) any {
	if key == (eventKey{}) {
		return &x.event
	}
	return x.Context.Value(key)
}

// EventOf returns the request's event; without one, an event nobody reads.
func EventOf(ctx context.Context) *Event {
	if e, ok := ctx.Value(eventKey{}).(*Event); ok {
		return e
	}
	return &Event{}
}

// Observer logs and measures requests.
type Observer struct {
	Logger *slog.Logger
	// Source tells the caller's address where a trusted proxy gives a real one;
	// nil: never.
	Source func(*http.Request) netip.Addr
	// Tracer begins a span for each request; nil: there is no tracing.
	Tracer    trace.Tracer
	durations durations
	inFlight  atomic.Int64
}

// NewObserver registers the metrics.
func NewObserver(logger *slog.Logger, registry prometheus.Registerer) (*Observer, error) {
	o := &Observer{Logger: logger, durations: durations{known: map[series]prometheus.Observer{}, all: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "tokenserver_http_request_duration_seconds",
		Help:    "How long requests took, by route, method and status.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
	}, []string{"route", "method", "code"})}}
	inFlight := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tokenserver_http_requests_in_flight",
		Help: "Requests that have begun and are not answered yet.",
	}, func() float64 { return float64(o.inFlight.Load()) })
	for _, c := range []prometheus.Collector{o.durations.all, inFlight} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return o, nil
}

// series names one of the histograms of durations.
type series struct {
	route, method string
	status        int
}

// durations are those histograms. Those that are known need no look-up by their labels,
// which costs more than what it counts.
type durations struct {
	all   *prometheus.HistogramVec
	mu    sync.RWMutex
	known map[series]prometheus.Observer
}

func (d *durations) of(s series) prometheus.Observer {
	d.mu.RLock()
	found, known := d.known[s]
	d.mu.RUnlock()
	if known {
		return found
	}
	found = d.all.WithLabelValues(s.route, s.method, strconv.Itoa(s.status))
	d.mu.Lock()
	d.known[s] = found
	d.mu.Unlock()
	return found
}

// Wrap observes every request to next, which must be a ServeMux or set
// Request.Pattern as one does.
func (o *Observer) Wrap(next http.Handler) http.Handler {
	observed := o.observed(next)
	if o.Tracer == nil {
		return observed
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, span := tracing.Server(o.Tracer, r, boundedMethod(r.Method))
		defer span.End()
		observed.ServeHTTP(w, r)
	})
}

func (o *Observer) observed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		o.inFlight.Add(1)
		defer o.inFlight.Add(-1)
		x := &exchange{Context: r.Context(), event: Event{Remote: o.remote(r)}, statusRecorder: statusRecorder{ResponseWriter: w}}
		r = r.WithContext(x)
		o.serve(next, &x.statusRecorder, r)
		o.record(r, x.status, &x.event, time.Since(start))
	})
}

func (o *Observer) remote(r *http.Request) string {
	if o.Source != nil {
		if address := o.Source(r); address.IsValid() {
			return address.String()
		}
	}
	return Peer(r)
}

// Peer is the address of whoever opened the connection, without port. Headers
// are not looked at: anybody can send one.
func Peer(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// serve turns a panic into server_error: one bad request must not end others.
func (o *Observer) serve(next http.Handler, w *statusRecorder, r *http.Request) {
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		if cause == http.ErrAbortHandler { //nolint:errorlint // recover returns the sentinel itself
			panic(cause)
		}
		o.Logger.LogAttrs(r.Context(), slog.LevelError, "panic", slog.Any("cause", cause), slog.String("stack", string(debug.Stack())))
		if w.status == 0 {
			Error(w, r, fmt.Errorf("panic: %v", cause))
		}
	}()
	next.ServeHTTP(w, r)
}

// routeOf is the path of the pattern that r matched. The method, which some
// patterns begin with, is told beside it.
func routeOf(r *http.Request) string {
	if r.Pattern == "" {
		return "unmatched"
	}
	return r.Pattern[strings.IndexByte(r.Pattern, ' ')+1:]
}

func (o *Observer) record(r *http.Request, status int, event *Event, took time.Duration) {
	if status == 0 {
		status = http.StatusOK
	}
	route := routeOf(r)
	if span := trace.SpanFromContext(r.Context()); span.IsRecording() {
		tracing.Served(span, boundedMethod(r.Method), route, status, event.spanAttributes()...)
	}
	o.durations.of(series{route, boundedMethod(r.Method), status}).Observe(took.Seconds())

	level := slog.LevelInfo
	const members = 11
	attributes := append(make([]slog.Attr, 0, members),
		slog.String("method", boundedMethod(r.Method)), slog.String("route", route), slog.Int("status", status),
		slog.Float64("duration_seconds", took.Seconds()), slog.String("remote", event.Remote),
	)
	if event.ClientID != "" {
		attributes = append(attributes, slog.String("client_id", event.ClientID))
	}
	if event.GrantType != "" {
		attributes = append(attributes, slog.String("grant_type", event.GrantType))
	}
	if event.Workload != "" {
		attributes = append(attributes, slog.String("workload", event.Workload))
	}
	if event.failure != nil {
		attributes = append(attributes, slog.String("error", event.failure.Code), slog.String("error_description", event.failure.Description))
		if event.failure.Cause != nil {
			attributes = append(attributes, slog.String("cause", event.failure.Cause.Error()))
		}
	}
	if status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	logline.Write(r.Context(), o.Logger, level, "request", attributes...)
}

// spanAttributes are what a trace tells of it: who asked for what, and the code of
// the refusal.
func (e *Event) spanAttributes() []attribute.KeyValue {
	var attributes []attribute.KeyValue
	for key, value := range map[attribute.Key]string{"connectedapps.client_id": e.ClientID, "connectedapps.grant_type": e.GrantType} {
		if value != "" {
			attributes = append(attributes, key.String(value))
		}
	}
	if e.failure != nil {
		attributes = append(attributes, attribute.String("error.type", e.failure.Code))
	}
	return attributes
}

// boundedMethod keeps what a client invents out of metric labels.
func boundedMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "OTHER"
}

type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (s *statusRecorder) WriteHeader(status int) {
	if s.status == 0 {
		s.status = status
	}
	s.ResponseWriter.WriteHeader(status)
}

func (s *statusRecorder) Write(data []byte) (int, error) {
	if s.status == 0 {
		s.status = http.StatusOK
	}
	return s.ResponseWriter.Write(data)
}

// Unwrap lets http.ResponseController reach the connection.
func (s *statusRecorder) Unwrap() http.ResponseWriter { return s.ResponseWriter }
