// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestRefreshAtStaysWithinItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		issued := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "issued"), 0)
		life := time.Duration(rapid.Int64Range(int64(time.Second), int64(maxLife)).Draw(t, "life"))
		share := rapid.Float64Range(0, 0.999999).Draw(t, "random")

		at := RefreshAt(issued, issued.Add(life), func() float64 { return share })
		got := float64(at.Sub(issued)) / float64(life)
		if got < refreshFrom-1e-9 || got > refreshTo+1e-9 {
			t.Fatalf("refreshed at %.4f of its life", got)
		}
	})
}

func TestRefreshAtOfAnExpiredLifeIsAtOnce(t *testing.T) {
	now := time.Now()
	require.Equal(t, now, RefreshAt(now, now, nil))
	require.Equal(t, now, RefreshAt(now, now.Add(-time.Hour), nil))
}

// Ten thousand tokens of one hour are made in the same second and refreshed for
// ten cycles.
func TestRefreshesSpread(t *testing.T) {
	const tokens, cycles = 10_000, 10
	rnd := rand.New(rand.NewPCG(1, 2))
	start := time.Unix(0, 0)
	perCycle := make([]map[int]int, cycles) // refreshes by minute
	all := map[int]int{}
	for i := range perCycle {
		perCycle[i] = map[int]int{}
	}
	for range tokens {
		at := start
		for cycle := range cycles {
			at = RefreshAt(at, at.Add(time.Hour), rnd.Float64)
			minute := int(at.Sub(start) / time.Minute)
			perCycle[cycle][minute]++
			all[minute]++
		}
	}
	peak := func(minutes map[int]int) float64 {
		most := 0
		for _, n := range minutes {
			most = max(most, n)
		}
		return float64(most)
	}

	second := perCycle[1]
	require.LessOrEqual(t, peak(second), 3*float64(tokens)/float64(len(second)), "peak minute of the second cycle")

	// From the third cycle on the cycles run into each other: the whole
	// line counts, against the rate of tokens spread evenly.
	evenly := float64(tokens) / (time.Hour.Minutes() * (refreshFrom + refreshTo) / 2)
	thirdStarts := slices.Min(minutesOf(perCycle[2]))
	for minute := range all {
		if minute < thirdStarts {
			delete(all, minute)
		}
	}
	require.LessOrEqual(t, peak(all), 3*evenly, "peak minute from the third cycle on")
}

func minutesOf(m map[int]int) []int {
	minutes := make([]int, 0, len(m))
	for minute := range m {
		minutes = append(minutes, minute)
	}
	return minutes
}

func TestBackoffDelay(t *testing.T) {
	highest := func() float64 { return 0 } // no shortening
	lowest := func() float64 { return 0.999999 }
	tests := map[string]struct {
		failures   int
		retryAfter time.Duration
		longest    time.Duration
	}{
		"the first failure waits a second":          {1, 0, time.Second},
		"the wait doubles":                          {4, 0, 8 * time.Second},
		"the wait is bounded":                       {7, 0, time.Minute},
		"the wait is bounded after many failures":   {1 << 30, 0, time.Minute},
		"no failure waits as the first":             {0, 0, time.Second},
		"a longer Retry-After is honoured":          {1, 90 * time.Second, 90 * time.Second},
		"a shorter Retry-After does not shorten it": {4, time.Second, 8 * time.Second},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.longest, Backoff{}.Delay(test.failures, test.retryAfter, highest))
			low := Backoff{}.Delay(test.failures, test.retryAfter, lowest)
			require.GreaterOrEqual(t, low, max(test.retryAfter, test.longest/2))
			require.LessOrEqual(t, low, test.longest)
		})
	}
	require.Equal(t, 3*time.Second, Backoff{Initial: 2 * time.Second, Max: 3 * time.Second}.Delay(2, 0, highest))
}
