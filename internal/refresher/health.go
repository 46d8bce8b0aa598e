// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// overdue is how late an attempt may be before the loop counts as stuck: more
// than any request's timeout and any file system's delay.
const overdue = 5 * time.Minute

// HealthHandler answers the probes of the kubelet and a scraper of metrics for
// all engines of a process:
//
//	/startupz  200 once there is a token to read, of each
//	/readyz    200 while the published token is valid, of each
//	/healthz   200 while the refresh loops go on, whatever the server says
//	/metrics   Prometheus text
//
// A failing probe says why in one line for each token, without detail of the
// environment.
func HealthHandler(engines ...*Engine) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /startupz", probe(engines, func(s Status, _ time.Time) string {
		if s.HasToken() {
			return ""
		}
		return "no token yet"
	}))
	mux.HandleFunc("GET /readyz", probe(engines, func(s Status, now time.Time) string {
		switch {
		case s.Valid(now):
			return ""
		case s.HasToken():
			return "the published token has expired"
		}
		return "no token yet"
	}))
	mux.HandleFunc("GET /healthz", probe(engines, func(s Status, now time.Time) string {
		if s.NextAttempt.IsZero() || now.Before(s.NextAttempt.Add(overdue)) {
			return ""
		}
		return "the refresh loop is stuck"
	}))
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		writeMetrics(w, engines)
	})
	return mux
}

// probe answers 200 when check finds nothing wrong with any.
func probe(engines []*Engine, check func(Status, time.Time) string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		var problems []string
		for _, e := range engines {
			s := e.Status()
			problem := check(s, time.Now())
			if problem == "" {
				continue
			}
			if s.LastError != nil {
				problem += ": " + string(ReasonOf(s.LastError))
			}
			if e.Name != "" {
				problem = "token " + e.Name + ": " + problem
			}
			problems = append(problems, problem)
		}
		if len(problems) == 0 {
			_, _ = io.WriteString(w, "ok\n")
			return
		}
		http.Error(w, strings.Join(problems, "\n"), http.StatusServiceUnavailable)
	}
}

func writeMetrics(w io.Writer, engines []*Engine) {
	metric := func(name, kind, help string, samples func(s Status, sample func(value int64, labels ...string))) {
		name = "connectedapps_refresher_" + name
		_, _ = fmt.Fprintf(w, "# HELP %[1]s %[2]s\n# TYPE %[1]s %[3]s\n", name, help, kind)
		for _, e := range engines {
			samples(e.Status(), func(value int64, labels ...string) {
				if e.Name != "" {
					labels = append(labels, fmt.Sprintf("token=%q", e.Name))
				}
				braces := ""
				if len(labels) > 0 {
					braces = "{" + strings.Join(labels, ",") + "}"
				}
				_, _ = fmt.Fprintf(w, "%s%s %d\n", name, braces, value)
			})
		}
	}
	metric("token_expiration_timestamp_seconds", "gauge", "When the published token expires; 0 while there is none.",
		func(s Status, sample func(int64, ...string)) {
			if !s.HasToken() {
				sample(0)
				return
			}
			sample(s.ExpiresAt.Unix())
		})
	metric("refreshes_total", "counter", "Tokens published since the start.",
		func(s Status, sample func(int64, ...string)) { sample(s.Refreshes) })
	metric("failures_total", "counter", "Failed attempts since the start, by reason.",
		func(s Status, sample func(int64, ...string)) {
			for _, reason := range slices.Sorted(maps.Keys(s.Failures)) {
				sample(s.Failures[reason], fmt.Sprintf("reason=%q", reason))
			}
		})
}
