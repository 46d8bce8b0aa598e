// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/controller/metrics"
)

// A counter that begins with 1 has no increase: the first client that somebody
// changes would be missed.
func TestTheFirstDriftIsAnIncrease(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics.Counters()...)
	counts := func() map[string]float64 {
		families, err := registry.Gather()
		require.NoError(t, err)
		counts := map[string]float64{}
		for _, family := range families {
			if family.GetName() != "connectedapp_drift_total" {
				continue
			}
			for _, m := range family.GetMetric() {
				counts[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
			}
		}
		return counts
	}
	metrics.Call("default", time.Second, nil)
	require.Equal(t, map[string]float64{"left": 0, "repaired": 0}, counts())
	metrics.Drift("default", true)
	require.Equal(t, map[string]float64{"left": 0, "repaired": 1}, counts())

	metrics.Forget("default")
	require.Empty(t, counts(), "series of a token server that is gone")
}
