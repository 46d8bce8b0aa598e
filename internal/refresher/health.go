// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"
)

// overdue is how late an attempt may be before the loop counts as stuck: more
// than any request's timeout and any file system's delay.
const overdue = 5 * time.Minute

// HealthHandler answers the probes of the kubelet and a scraper of metrics:
//
//	/startupz  200 once there is a token to read
//	/readyz    200 while the published token is valid
//	/healthz   200 while the refresh loop goes on, whatever the server says
//	/metrics   Prometheus text
//
// A failing probe says why in one line, without detail of the environment.
func (e *Engine) HealthHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /startupz", e.probe(func(s Status, _ time.Time) string {
		if s.HasToken() {
			return ""
		}
		return "no token yet"
	}))
	mux.HandleFunc("GET /readyz", e.probe(func(s Status, now time.Time) string {
		switch {
		case s.Valid(now):
			return ""
		case s.HasToken():
			return "the published token has expired"
		}
		return "no token yet"
	}))
	mux.HandleFunc("GET /healthz", e.probe(func(s Status, now time.Time) string {
		if s.NextAttempt.IsZero() || now.Before(s.NextAttempt.Add(overdue)) {
			return ""
		}
		return "the refresh loop is stuck"
	}))
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		writeMetrics(w, e.Status())
	})
	return mux
}

// probe answers 200 when check finds nothing wrong.
func (e *Engine) probe(check func(Status, time.Time) string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		s := e.Status()
		problem := check(s, time.Now())
		if problem == "" {
			_, _ = io.WriteString(w, "ok\n")
			return
		}
		if s.LastError != nil {
			problem += ": " + string(ReasonOf(s.LastError))
		}
		http.Error(w, problem, http.StatusServiceUnavailable)
	}
}

func writeMetrics(w io.Writer, s Status) {
	const prefix = "connectedapps_refresher_"
	expires := int64(0)
	if s.HasToken() {
		expires = s.ExpiresAt.Unix()
	}
	_, _ = fmt.Fprintf(w, `# HELP %[1]stoken_expiration_timestamp_seconds When the published token expires; 0 while there is none.
# TYPE %[1]stoken_expiration_timestamp_seconds gauge
%[1]stoken_expiration_timestamp_seconds %[2]d
# HELP %[1]srefreshes_total Tokens published since the start.
# TYPE %[1]srefreshes_total counter
%[1]srefreshes_total %[3]d
# HELP %[1]sfailures_total Failed attempts since the start, by reason.
# TYPE %[1]sfailures_total counter
`, prefix, expires, s.Refreshes)
	for _, reason := range slices.Sorted(maps.Keys(s.Failures)) {
		_, _ = fmt.Fprintf(w, "%sfailures_total{reason=%q} %d\n", prefix, reason, s.Failures[reason])
	}
}
