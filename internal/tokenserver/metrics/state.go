// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"connectedapps.dev/operator/internal/tokenserver/storage"
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
	// Fresh tells whether what is in memory counts as up to date.
	Fresh func() bool
	// KeyLife is since when the key that signs with an algorithm does, and when the
	// next is to, by algorithm; the zero times: there is none. published is how many
	// keys of the algorithm there are to verify with.
	KeyLife map[string]func() (since, until time.Time, published int)
	// Pools are those of the database.
	Pools func() []storage.Pool
	// PasswordChecks are those that run and wait, of so many slots.
	PasswordChecks func() (running, waiting, slots int)
}

// Watch registers what State tells. It fails as New does.
func Watch(registry prometheus.Registerer, s State) error {
	started := s.Now()
	gauges := []prometheus.Collector{
		gauge("feed_lag_seconds", "How long ago all that is in memory was last known to be up to date; before the first time, since the start.", nil,
			func() float64 { return since(s.Now(), later(started, s.Confirmed())) }),
		gauge("feed_stale", "1 while what is in memory is not known to be up to date and requests that need that are refused with 503, else 0.", nil,
			func() float64 { return oneIf(!s.Fresh()) }),
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
	for algorithm, life := range s.KeyLife {
		gauges = append(gauges, keyGauges(algorithm, life, s.Now)...)
	}
	return register(registry, append(gauges, newPools(s.Pools))...)
}

func gauge(name, help string, labels prometheus.Labels, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help, ConstLabels: labels}, value)
}

func keyGauges(algorithm string, life func() (since, until time.Time, published int), now func() time.Time) []prometheus.Collector {
	labels := prometheus.Labels{"algorithm": algorithm}
	return []prometheus.Collector{
		gauge("signing_key_age_seconds", "How long the key that signs has been signing, by algorithm; 0 without one.", labels, func() float64 {
			at, _, _ := life()
			if at.IsZero() {
				return 0
			}
			return since(now(), at)
		}),
		gauge("signing_key_rotation_timestamp_seconds", "When another key is to sign, by algorithm; 0 without one that signs.", labels, func() float64 {
			_, until, _ := life()
			return timestamp(until)
		}),
		gauge("signing_keys_published", "Keys in the JWK Set, by algorithm: those that sign, will sign, or signed what may still be valid.", labels, func() float64 {
			_, _, published := life()
			return float64(published)
		}),
	}
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// timestamp is 0 for the zero time.
func timestamp(at time.Time) float64 {
	if at.IsZero() {
		return 0
	}
	return float64(at.UnixMilli()) / 1000
}

// since is never negative: clocks of replicas differ.
func since(now, at time.Time) float64 { return max(0, now.Sub(at).Seconds()) }

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
