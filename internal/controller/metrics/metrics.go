// SPDX-License-Identifier: Apache-2.0

// Package metrics has what the controllers count while they work. What can be
// seen from the objects is counted at the time of the scrape, by package
// controller. Only the leader works, so that nothing is counted twice.
package metrics

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"connectedapps.dev/operator/internal/registrar"
)

var (
	calls = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "connectedapp_management_call_duration_seconds",
		Help:    "How long calls to the management API took, by token server and outcome: ok, or why there was no good answer.",
		Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15},
	}, []string{"tokenserver", "outcome"})
	actions = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "connectedapp_actions_total",
		Help: "What was done for ConnectedApps, by token server, action and outcome: done or failed.",
	}, []string{"tokenserver", "action", "outcome"})
	drift = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "connectedapp_drift_total",
		Help: "Clients that somebody changed or deleted on their token server, by what the manager did about it: repaired or left.",
	}, []string{"tokenserver", "outcome"})
)

// What was done about a client that somebody changed.
const (
	driftRepaired = "repaired"
	driftLeft     = "left"
)

// Counters are all that this package counts.
func Counters() []prometheus.Collector { return []prometheus.Collector{calls, actions, drift} }

// Register has them exported. A process that runs a second manager, as tests do,
// goes on counting.
func Register() error {
	for _, counter := range Counters() {
		err := metrics.Registry.Register(counter)
		if _, again := errors.AsType[prometheus.AlreadyRegisteredError](err); err != nil && !again {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// Call counts a call to the management API that ended in err.
func Call(tokenServer string, took time.Duration, err error) {
	outcome := "ok"
	if err != nil {
		outcome = "Canceled"
		if reason := registrar.ReasonOf(err); reason != "" {
			outcome = string(reason)
		}
	}
	calls.WithLabelValues(tokenServer, outcome).Observe(took.Seconds())
	// From zero, or the increase to the first change of a client would be none.
	drift.WithLabelValues(tokenServer, driftRepaired)
	drift.WithLabelValues(tokenServer, driftLeft)
}

// Action counts something that was done, or tried, for a ConnectedApp.
func Action(tokenServer, action string, err error) {
	outcome := "done"
	if err != nil {
		outcome = "failed"
	}
	actions.WithLabelValues(tokenServer, action, outcome).Inc()
}

// Drift counts a client that was found changed.
func Drift(tokenServer string, repaired bool) {
	outcome := driftLeft
	if repaired {
		outcome = driftRepaired
	}
	drift.WithLabelValues(tokenServer, outcome).Inc()
}

// Forget drops the series of a token server that is gone.
func Forget(tokenServer string) {
	of := prometheus.Labels{"tokenserver": tokenServer}
	calls.DeletePartialMatch(of)
	actions.DeletePartialMatch(of)
	drift.DeletePartialMatch(of)
}
