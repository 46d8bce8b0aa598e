// SPDX-License-Identifier: Apache-2.0

package tombstone

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// collectTimeout bounds reading from the cache, which has no server to wait for.
const collectTimeout = 5 * time.Second

var description = prometheus.NewDesc("connectedapp_tombstones",
	"Clients that are to be deleted on a token server, whose ConnectedApps are gone already.", []string{"tokenserver"}, nil)

// exportMetrics exports the metric until ctx ends: while the process leads, so
// that each tombstone is counted once.
func (s *Store) exportMetrics(ctx context.Context) error {
	c := collector{s}
	metrics.Registry.Unregister(c) // a process that runs a second manager, as tests do, reports of that one
	if err := metrics.Registry.Register(c); err != nil {
		return fmt.Errorf("registering the metric of tombstones: %w", err)
	}
	<-ctx.Done()
	metrics.Registry.Unregister(c)
	return nil
}

type collector struct{ store *Store }

func (collector) Describe(ch chan<- *prometheus.Desc) { ch <- description }

func (c collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	counts, err := c.store.counts(ctx)
	if err != nil {
		return // the cache has not started
	}
	for tokenServer, n := range counts {
		ch <- prometheus.MustNewConstMetric(description, prometheus.GaugeValue, float64(n), tokenServer)
	}
}
