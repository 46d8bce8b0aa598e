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
		counterFunc("log_lost_lines_total", "Lines of the log that are lost: it could not be written, or nobody read it.",
			func() float64 { return float64(stats().Lost) }),
	)
}

func counterFunc(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, value)
}
