// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/metrics"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// labelled counts the events of a metric by the value of a label.
func labelled(t *testing.T, registry *prometheus.Registry, name, label string) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	require.NoError(t, err)
	values := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			for _, pair := range m.GetLabel() {
				if family.GetName() == name && pair.GetName() == label && m.GetCounter().GetValue() > 0 {
					values[pair.GetValue()] += m.GetCounter().GetValue()
				}
			}
		}
	}
	return values
}

func TestLabelsAreBoundedWhateverComes(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m, err := metrics.New(registry, "")
	require.NoError(t, err)
	for i := range 100 {
		invented := fmt.Sprint("invented-", i)
		m.TokenIssued(invented)
		m.TokenRefused(invented, invented)
		m.TokenAnswered(invented, invented, time.Millisecond)
		m.SignInFailed(invented)
	}
	m.TokenRefused(oauth.GrantPassword, oauth.CodeInvalidGrant)
	require.Equal(t, map[string]float64{"other": 100}, labelled(t, registry, "tokenserver_tokens_issued_total", "grant"))
	require.Equal(t, map[string]float64{"other": 100, "password": 1}, labelled(t, registry, "tokenserver_tokens_refused_total", "grant"))
	require.Equal(t, map[string]float64{"other": 100, "invalid_grant": 1}, labelled(t, registry, "tokenserver_tokens_refused_total", "code"))
	require.Equal(t, map[string]float64{"other": 100}, labelled(t, registry, "tokenserver_sign_ins_failed_total", "reason"))
}

func TestOnlyADatabaseWithoutAnAnswerIsAnError(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err  error
		want map[string]float64
	}{
		"success":                     {nil, map[string]float64{}},
		"no such record":              {storage.ErrNotFound, map[string]float64{}},
		"a record that exists":        {storage.ErrAlreadyExists, map[string]float64{}},
		"a caller who went away":      {context.Canceled, map[string]float64{}},
		"a deadline":                  {fmt.Errorf("%w: %w", storage.ErrUnavailable, context.DeadlineExceeded), map[string]float64{"timeout": 1}},
		"a full disk":                 {fmt.Errorf("%w: %w", storage.ErrUnavailable, storage.ErrFull), map[string]float64{"full": 1}},
		"a connection that is broken": {storage.ErrUnavailable, map[string]float64{"unavailable": 1}},
		"a conflict of transactions":  {fmt.Errorf("%w: %w", storage.ErrUnavailable, storage.ErrRolledBack), map[string]float64{}},
		"anything else":               {fmt.Errorf("a row that cannot be read"), map[string]float64{"other": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			registry := prometheus.NewRegistry()
			m, err := metrics.New(registry, "v1")
			require.NoError(t, err)
			m.StorageDone("select apps", time.Millisecond, test.err)
			require.Equal(t, test.want, labelled(t, registry, "tokenserver_storage_errors_total", "reason"))
		})
	}
}

func TestRegisteringTwiceFails(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	_, err := metrics.New(registry, "v1")
	require.NoError(t, err)
	_, err = metrics.New(registry, "v1")
	require.ErrorContains(t, err, "registering metrics: duplicate metrics collector registration")
}

func TestAgesAreNeverNegativeAndLagBeginsAtTheStart(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	confirmed, registry := time.Time{}, prometheus.NewRegistry()
	none := func() int { return 0 }
	require.NoError(t, metrics.Watch(registry, metrics.State{
		Now: func() time.Time { return now }, Confirmed: func() time.Time { return confirmed }, Apps: none, Revocations: none, IssuersUnavailable: none,
		Fresh: func() bool { return false }, Pools: func() []storage.Pool { return nil },
		KeyLife: map[string]func() (since, until time.Time, published int){
			"ES256": func() (since, until time.Time, published int) { return now.Add(time.Hour), now.Add(2 * time.Hour), 1 },
			"RS256": func() (since, until time.Time, published int) { return time.Time{}, time.Time{}, 0 },
		},
		PasswordChecks: func() (running, waiting, slots int) { return 1, 2, 3 },
	}))
	value := func(name string) (values []float64) {
		families, err := registry.Gather()
		require.NoError(t, err)
		for _, family := range families {
			for _, m := range family.GetMetric() {
				if family.GetName() == "tokenserver_"+name {
					values = append(values, m.GetGauge().GetValue())
				}
			}
		}
		return values
	}
	require.Equal(t, []float64{0, 0}, value("signing_key_age_seconds"))
	require.Equal(t, []float64{float64(now.Add(2 * time.Hour).Unix()), 0}, value("signing_key_rotation_timestamp_seconds"))
	now = now.Add(time.Minute)
	require.Equal(t, []float64{60}, value("feed_lag_seconds"))
	confirmed = now.Add(time.Second)
	require.Equal(t, []float64{0}, value("feed_lag_seconds"))
	require.Equal(t, []float64{1, 2, 3}, append(append(value("password_slots_in_use"), value("password_slots_waiting")...), value("password_slots")...))
}
