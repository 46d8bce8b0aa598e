// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// pools tells of the connections to the database, all of one moment.
type pools struct {
	read    func() []storage.Pool
	columns []poolColumn
}

type poolColumn struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(storage.Pool) float64
}

func newPools(read func() []storage.Pool) *pools {
	p := &pools{read: read}
	add := func(kind prometheus.ValueType, name, help string, value func(storage.Pool) float64) {
		desc := prometheus.NewDesc(prometheus.BuildFQName(namespace, "database", name), help, []string{"pool"}, nil)
		p.columns = append(p.columns, poolColumn{desc, kind, value})
	}
	add(prometheus.GaugeValue, "connections_limit", "How many connections to the database may be open, by pool.",
		func(p storage.Pool) float64 { return float64(p.Limit) })
	add(prometheus.GaugeValue, "connections_open", "Connections to the database that are open, by pool.",
		func(p storage.Pool) float64 { return float64(p.Open) })
	add(prometheus.GaugeValue, "connections_in_use", "Connections to the database that are at work, by pool.",
		func(p storage.Pool) float64 { return float64(p.InUse) })
	add(prometheus.CounterValue, "connection_waits_total", "Times that a connection to the database had to be waited for, by pool.",
		func(p storage.Pool) float64 { return float64(p.Waits) })
	add(prometheus.CounterValue, "connection_wait_seconds_total", "How long connections to the database were waited for in all, by pool.",
		func(p storage.Pool) float64 { return p.Waited.Seconds() })
	return p
}

// Describe implements prometheus.Collector.
func (p *pools) Describe(descriptions chan<- *prometheus.Desc) {
	for _, c := range p.columns {
		descriptions <- c.desc
	}
}

// Collect implements prometheus.Collector.
func (p *pools) Collect(values chan<- prometheus.Metric) {
	for _, pool := range p.read() {
		for _, c := range p.columns {
			values <- prometheus.MustNewConstMetric(c.desc, c.kind, c.value(pool), pool.Name)
		}
	}
}
