// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBackoff(t *testing.T) {
	for failures, longest := range map[int]time.Duration{
		0: time.Second, 1: time.Second, 2: 2 * time.Second, 4: 8 * time.Second, 6: 32 * time.Second, 7: time.Minute, 1 << 30: time.Minute,
	} {
		t.Run(fmt.Sprint(failures), func(t *testing.T) {
			require.Equal(t, longest, Backoff{}.Longest(failures))
			for range 100 {
				delay := Backoff{}.Delay(failures)
				require.LessOrEqual(t, delay, longest)
				require.GreaterOrEqual(t, delay, longest/2)
			}
		})
	}
	require.Equal(t, 3*time.Second, Backoff{Initial: 2 * time.Second, Max: 3 * time.Second}.Longest(2))
}

// Ten thousand tokens of one hour are made in the same second and refreshed for
// ten cycles.
func TestRefreshesSpread(t *testing.T) {
	const tokens, cycles = 10_000, 10
	start := time.Unix(0, 0)
	perCycle := make([]map[int]int, cycles) // refreshes by minute
	all := map[int]int{}
	for i := range perCycle {
		perCycle[i] = map[int]int{}
	}
	for n := range tokens {
		at := start
		for cycle := range cycles {
			token := &Token{AccessToken: fmt.Sprintf("token %d of app %d", cycle, n), IssuedAt: at, ExpiresAt: at.Add(time.Hour)}
			at = token.RefreshAt()
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
