// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// State tells what is asked for at each scrape. None of it may wait or read the
// database: a scrape must answer when nothing else does.
type State struct {
	Now func() time.Time
	// Confirmed is when the change feed was last known to be followed; zero: never.
	Confirmed func() time.Time
	// Apps and Revocations are how many are in memory.
	Apps, Revocations func() int
	// IssuersUnavailable is how many workload issuers did not answer last.
	IssuersUnavailable func() int
	// KeyActiveSince is when the key that signs with an algorithm began to, by
	// algorithm; false: there is none.
	KeyActiveSince map[string]func() (time.Time, bool)
	// PasswordChecks are those that run and wait, of so many slots.
	PasswordChecks func() (running, waiting, slots int)
}

// Watch registers what State tells. It fails as New does.
func Watch(registry prometheus.Registerer, s State) error {
	started := s.Now()
	gauges := []prometheus.Collector{
		gauge("feed_lag_seconds", "How long ago all that is in memory was last known to be up to date; before the first time, since the start.", nil,
			func() float64 { return since(s.Now(), later(started, s.Confirmed())) }),
		gauge("revocations_active", "Single tokens and authorizations that are remembered as revoked.", nil,
			func() float64 { return float64(s.Revocations()) }),
		gauge("apps", "Apps in memory.", nil, func() float64 { return float64(s.Apps()) }),
		gauge("workload_issuers_unavailable", "Issuers of workload tokens that did not answer when they were last asked; the log says which.", nil,
			func() float64 { return float64(s.IssuersUnavailable()) }),
		gauge("password_slots", "How many passwords may be checked at once.", nil,
			func() float64 { _, _, slots := s.PasswordChecks(); return float64(slots) }),
		gauge("password_slots_in_use", "Passwords that are being checked.", nil,
			func() float64 { running, _, _ := s.PasswordChecks(); return float64(running) }),
		gauge("password_slots_waiting", "Passwords that wait for a slot; above 16 they are refused as busy.", nil,
			func() float64 { _, waiting, _ := s.PasswordChecks(); return float64(waiting) }),
	}
	for algorithm, activeSince := range s.KeyActiveSince {
		gauges = append(gauges, gauge("signing_key_age_seconds", "How long the key that signs has been signing, by algorithm; 0 without one.",
			prometheus.Labels{"algorithm": algorithm}, func() float64 { return keyAge(s.Now(), activeSince) }))
	}
	return register(registry, gauges...)
}

func gauge(name, help string, labels prometheus.Labels, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help, ConstLabels: labels}, value)
}

func keyAge(now time.Time, activeSince func() (time.Time, bool)) float64 {
	at, ok := activeSince()
	if !ok {
		return 0
	}
	return since(now, at)
}

// since is never negative: clocks of replicas differ.
func since(now, at time.Time) float64 { return max(0, now.Sub(at).Seconds()) }

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
