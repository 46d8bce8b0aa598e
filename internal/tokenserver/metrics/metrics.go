// SPDX-License-Identifier: Apache-2.0

// Package metrics holds every metric of the token server that is not about HTTP
// or files: what each means is in its help, and docs/metrics-tokenserver.md is
// made of that. Labels are bounded whatever clients send, and hold no client id.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

const (
	// namespace begins the name of every metric.
	namespace = "tokenserver"
	// other stands in a label for every value that is not known.
	other = "other"
	// GrantLogin counts as the grant of the platform's sign-in for programs, which
	// has none.
	GrantLogin = "login"
)

// What a server does beside requests, in the words of its log.
const (
	WorkLoad     = "loading apps"
	WorkGarbage  = "collecting garbage"
	WorkSize     = "measuring the database"
	WorkLastUses = "writing last uses"
	WorkKeys     = "keeping signing keys"
)

// Outcomes of a request to the token endpoint.
const (
	issued  = "issued"
	refused = "refused"
	// failed: the server could not tell whether to issue or to refuse.
	failed = "failed"
)

// Metrics is what a server counts. It is safe for concurrent use.
type Metrics struct {
	issued         *prometheus.CounterVec
	issuedBy       map[string]prometheus.Counter             // by grant
	requests       map[string]map[string]prometheus.Observer // by grant and outcome
	refused        *prometheus.CounterVec
	failedSignIns  *prometheus.CounterVec
	withoutExpiry  prometheus.Counter
	storage        *prometheus.HistogramVec
	storageErrors  *prometheus.CounterVec
	conflicts      *prometheus.CounterVec
	succeeded      *prometheus.GaugeVec
	failures       *prometheus.CounterVec
	databaseSize   prometheus.Gauge
	garbage        *prometheus.CounterVec
	known, reasons []string
	codes          []string
}

// New registers the metrics of a program of that version; empty: unknown. It
// fails when the registry holds one of them already.
func New(registry prometheus.Registerer, version string) (*Metrics, error) {
	m := &Metrics{
		issued:        counter("tokens_issued_total", "Access tokens issued, by grant; login is the sign-in for programs.", "grant"),
		refused:       counter("tokens_refused_total", "Requests that the token endpoint refused, by grant and error code.", "grant", "code"),
		failedSignIns: counter("sign_ins_failed_total", "Passwords that were not accepted, on any way in, by reason.", "reason"),
		storage: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "storage_duration_seconds",
			Help:    "How long statements and the begin and end of transactions took, failed ones too; begin write waits for the only writer.",
			Buckets: []float64{.0005, .0025, .01, .05, .25, 1, 2.5, 10},
		}, []string{"operation"}),
		storageErrors: counter("storage_errors_total", "Statements and transactions to which the database gave no answer, by reason.", "operation", "reason"),
		conflicts: counter("storage_conflicts_total",
			"Statements and commits that the database undid for the sake of another transaction; theirs is done again, up to 10 times.", "operation"),
		failures: counter("background_work_failures_total", "Times that work beside requests failed, by what it was doing; the log says why.", "doing"),
		succeeded: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: namespace, Name: "background_work_last_success_timestamp_seconds",
			Help: "When work beside requests last succeeded, by what it was doing.",
		}, []string{"doing"}),
		garbage: counter("garbage_collected_rows_total", "Rows removed because they had expired, by table.", "table"),
		withoutExpiry: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "assertions_without_expiry_total", Help: "Assertions without exp that were accepted, where the app's settings allow it.",
		}),
		databaseSize: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "database_size_bytes",
			Help: "Size of the database when it was last measured, at the start and every 10 minutes; 0 before that.",
		}),
		known:   []string{oauth.GrantAuthorizationCode, oauth.GrantClientCredentials, oauth.GrantJWTBearer, oauth.GrantPassword, oauth.GrantRefreshToken, GrantLogin},
		reasons: []string{"invalid_credentials", "throttled", "busy"},
		codes: []string{oauth.CodeInvalidRequest, oauth.CodeInvalidClient, oauth.CodeInvalidGrant, oauth.CodeInvalidScope, oauth.CodeUnauthorizedClient,
			oauth.CodeUnsupportedGrantType, oauth.CodeServerError, oauth.CodeTemporarilyUnavailable},
	}
	requests := m.newRequests()
	m.begin()
	return m, register(registry, m.issued, m.refused, requests, m.failedSignIns, m.withoutExpiry, m.storage, m.storageErrors, m.conflicts,
		m.succeeded, m.failures, m.databaseSize, m.garbage, buildInfo(version))
}

// newRequests makes all of its series at once: none has to be looked up by a
// request.
func (m *Metrics) newRequests() *prometheus.HistogramVec {
	all := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: "token_request_duration_seconds",
		Help:    "How long the token endpoint took, by grant and outcome: issued, refused, or failed where it could not tell.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
	}, []string{"grant", "outcome"})
	m.requests = map[string]map[string]prometheus.Observer{}
	for _, grant := range append([]string{other}, m.known...) {
		if grant == GrantLogin {
			continue // an endpoint of its own
		}
		m.requests[grant] = map[string]prometheus.Observer{}
		for _, outcome := range []string{issued, refused, failed} {
			m.requests[grant][outcome] = all.WithLabelValues(grant, outcome)
		}
	}
	return all
}

// begin makes the series that are looked at before their first event: a rate
// needs a value to rise from.
func (m *Metrics) begin() {
	m.issuedBy = map[string]prometheus.Counter{}
	for _, grant := range m.known {
		m.issuedBy[grant] = m.issued.WithLabelValues(grant)
	}
	for _, reason := range m.reasons {
		m.failedSignIns.WithLabelValues(reason)
	}
	m.conflicts.WithLabelValues("commit")
	for _, work := range []string{WorkLoad, WorkGarbage, WorkSize, WorkLastUses, WorkKeys} {
		m.failures.WithLabelValues(work)
	}
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func buildInfo(version string) prometheus.Collector {
	if version == "" {
		version = "unknown"
	}
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "1; the labels say which version runs, and with which Go it was built.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version()},
	}, func() float64 { return 1 })
}

func register(registry prometheus.Registerer, collectors ...prometheus.Collector) error {
	for _, c := range collectors {
		if err := registry.Register(c); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// TokenIssued counts an access token; grant is a grant_type or GrantLogin.
func (m *Metrics) TokenIssued(grant string) {
	if c, known := m.issuedBy[grant]; known {
		c.Inc()
		return
	}
	m.issued.WithLabelValues(other).Inc()
}

// TokenRefused counts a refused token request; grant is empty or anything when
// the request named no grant that there is, code is one of RFC 6749 section 5.2.
func (m *Metrics) TokenRefused(grant, code string) {
	m.refused.WithLabelValues(bounded(grant, m.known), bounded(code, m.codes)).Inc()
}

// TokenAnswered takes how long the token endpoint took for an answer; grant and
// code are as for TokenRefused, code is empty when a token was issued.
func (m *Metrics) TokenAnswered(grant, code string, took time.Duration) {
	outcome := refused
	switch code {
	case "":
		outcome = issued
	case oauth.CodeServerError, oauth.CodeTemporarilyUnavailable:
		outcome = failed
	}
	outcomes, ok := m.requests[grant]
	if !ok {
		outcomes = m.requests[other]
	}
	outcomes[outcome].Observe(took.Seconds())
}

// WorkDone takes what work beside requests has come to; doing is one of the
// constants.
func (m *Metrics) WorkDone(doing string, at time.Time, err error) {
	if err != nil {
		m.failures.WithLabelValues(doing).Inc()
		return
	}
	m.succeeded.WithLabelValues(doing).Set(timestamp(at))
}

// SignInFailed counts a password that was not accepted.
func (m *Metrics) SignInFailed(reason string) {
	m.failedSignIns.WithLabelValues(bounded(reason, m.reasons)).Inc()
}

// AssertionWithoutExpiry counts an assertion without exp that was accepted.
func (m *Metrics) AssertionWithoutExpiry() { m.withoutExpiry.Inc() }

// GarbageCollected counts n rows that went from a table.
func (m *Metrics) GarbageCollected(table string, n int) {
	m.garbage.WithLabelValues(table).Add(float64(n))
}

// DatabaseSize takes the size in bytes.
func (m *Metrics) DatabaseSize(size int64) { m.databaseSize.Set(float64(size)) }

// StorageDone takes what storage.Storage measures. A record that is not there, or
// there already, is an answer; a caller who went away has not met an error, and
// what is done again for the sake of another transaction is a conflict.
func (m *Metrics) StorageDone(operation string, took time.Duration, err error) {
	m.storage.WithLabelValues(operation).Observe(took.Seconds())
	if errors.Is(err, storage.ErrRolledBack) {
		m.conflicts.WithLabelValues(operation).Inc()
		return
	}
	if reason := storageTrouble(err); reason != "" {
		m.storageErrors.WithLabelValues(operation, reason).Inc()
	}
}

func storageTrouble(err error) string {
	switch {
	case err == nil, errors.Is(err, storage.ErrNotFound), errors.Is(err, storage.ErrAlreadyExists), errors.Is(err, context.Canceled):
		return ""
	case errors.Is(err, storage.ErrFull):
		return "full"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, storage.ErrUnavailable):
		return "unavailable"
	}
	return other
}

func bounded(value string, known []string) string {
	if slices.Contains(known, value) {
		return value
	}
	return other
}
