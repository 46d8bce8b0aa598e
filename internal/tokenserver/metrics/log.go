// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"connectedapps.dev/operator/internal/tokenserver/logqueue"
)

// WatchLog registers what has become of log lines. It fails as New does.
func WatchLog(registry prometheus.Registerer, stats func() logqueue.Stats) error {
	return register(registry,
		gauge("log_queue_bytes", "Bytes of log lines that are not written yet; above 1 MiB requests wait.", nil,
			func() float64 { return float64(stats().Waiting) }),
		counterFunc("log_waits_total", "Times that a request waited for room among the log lines that are not written yet.",
			func() float64 { return float64(stats().Waits) }),
		counterFunc("log_write_errors_total", "Writes of log lines that failed; the lines are lost.",
			func() float64 { return float64(stats().Errors) }),
	)
}

func counterFunc(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, value)
}
