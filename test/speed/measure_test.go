// SPDX-License-Identifier: Apache-2.0

package speed

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"connectedapps.dev/operator/test/report"
)

// side is a server and what it is asked.
type side struct {
	server *process
	asked  asked
	// connections is how many ask; zero: as many as connections.
	connections int
	// during is how long they ask at a time; zero: as long as during.
	during time.Duration
}

// sample is what one side did in a while.
type sample struct {
	rate float64 // requests in a second
	// own and database are CPU time for a request.
	own, database time.Duration
}

// cost is a sample's CPU, as a note says it: of the server, and of the database.
func (s sample) cost() string {
	if s.database == 0 {
		return fmt.Sprintf("%d", s.own.Microseconds())
	}
	return fmt.Sprintf("%d+%d", s.own.Microseconds(), s.database.Microseconds())
}

func (s side) measure(t testing.TB) sample {
	t.Helper()
	of := s.connections
	if of == 0 {
		of = connections
	}
	long := s.during
	if long == 0 {
		long = during(t)
	}
	own, database := s.server.processor(t)
	start := time.Now()
	answered := load(t, s.server.address, s.asked, of, long)
	took := time.Since(start)
	ownAfter, databaseAfter := s.server.processor(t)
	each := time.Duration(max(1, answered))
	return sample{float64(answered) / took.Seconds(), (ownAfter - own) / each, (databaseAfter - database) / each}
}

// alternate asks all sides in turn, once for nothing and then in so many rounds, and
// returns the samples of each.
func alternate(t testing.TB, rounds int, what string, sides ...side) [][]sample {
	t.Helper()
	samples := make([][]sample, len(sides))
	for round := range rounds + 1 {
		report.Progress(t, "%s: %d of %d", what, round, rounds)
		for i, s := range sides {
			if taken := s.measure(t); round > 0 {
				samples[i] = append(samples[i], taken)
			}
		}
	}
	return samples
}

// ratio is the median of the ratios of each pair.
func ratio(of, to []sample, value func(sample) float64) float64 {
	ratios := make([]float64, len(of))
	for i := range of {
		ratios[i] = value(of[i]) / value(to[i])
	}
	return median(ratios)
}

func rate(s sample) float64 { return s.rate }

func processor(s sample) float64 { return float64(s.own + s.database) }

// typical has the medians of samples.
func typical(samples []sample) sample {
	var rates []float64
	var own, database []time.Duration
	for _, s := range samples {
		rates, own, database = append(rates, s.rate), append(own, s.own), append(database, s.database)
	}
	return sample{median(rates), median(own), median(database)}
}

// compare reports the rate of ours as a ratio to that of the other.
func compare(t testing.TB, name string, goal report.Goal, ours, other side) {
	t.Helper()
	samples := alternate(t, pairs(t), name, ours, other)
	a, b := typical(samples[0]), typical(samples[1])
	report.Add(t, report.Row{
		Name: name, Value: ratio(samples[0], samples[1], rate), Goal: goal,
		Note: fmt.Sprintf("%.0f/s to %.0f/s, %s µs CPU to %s", a.rate, b.rate, a.cost(), b.cost()),
	})
}

func median[T float64 | time.Duration](values []T) T {
	values = slices.Clone(values)
	slices.Sort(values)
	return values[len(values)/2]
}
