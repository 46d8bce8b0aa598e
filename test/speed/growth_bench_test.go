// SPDX-License-Identifier: Apache-2.0

package speed

import (
	"fmt"
	"testing"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/test/report"
)

// grow reports what a request costs with ten and a hundred times as much of something:
// sizes are those of the last three sides, and many is the most of them.
func grow(b *testing.B, what, request string, sizes [3]int, sides ...side) [][]sample {
	b.Helper()
	samples := alternate(b, fmt.Sprintf("%s with many %s", request, what), sides...)
	three := samples[len(samples)-3:]
	for i := 1; i < 3; i++ {
		few, many := typical(three[0]), typical(three[i])
		report.Add(b, report.Row{
			Name:  fmt.Sprintf("CPU of %s with %s %s, to %s", request, grouped(sizes[i]), what, grouped(sizes[0])),
			Value: ratio(three[i], three[0], processor), Goal: report.Without(report.Lower),
			Note: fmt.Sprintf("%s µs to %s", many.cost(), few.cost()),
		})
	}
	return samples
}

func thirds(most int) [3]int { return [3]int{max(1, most/100), max(1, most/10), most} }

// BenchmarkApps: what a request costs as apps grow, and what many of them take.
// SPEED_APPS is how many.
func BenchmarkApps(b *testing.B) {
	once(b, func() {
		const few = 10
		sizes := thirds(number(b, "SPEED_APPS", 10_000))
		most := sizes[2]
		var sides []side
		var last *installation
		for _, n := range append([]int{few}, sizes[:]...) {
			report.Progress(b, "registering %s apps", grouped(n))
			last = newInstallation(b, onSQLite())
			p := last.start(b)
			apps := register(b, p, last.admin, n, forThemselves(""))
			// What registering took is not what having them takes.
			p.stop()
			p = last.start(b)
			sides = append(sides, side{server: p, asked: inTurn(forms(p, apps))})
		}
		samples := grow(b, "apps", "client_credentials", sizes, sides...)
		report.Add(b, report.Row{
			Name:  fmt.Sprintf("client_credentials with %s apps, to %d", grouped(most), few),
			Value: ratio(samples[3], samples[0], rate), Goal: report.AtLeast(0.90),
			Note: fmt.Sprintf("%.0f/s to %.0f/s", typical(samples[3]).rate, typical(samples[0]).rate),
		})
		report.Add(b, report.Row{
			Name: fmt.Sprintf("memory with %s apps", grouped(most)), Value: sides[3].server.resident(b), Unit: "MiB", Goal: report.AtMost(64),
			Note: fmt.Sprintf("after requests; %.0f MiB at most", sides[3].server.peak(b)),
		})
		for _, s := range sides {
			s.server.stop()
		}
		report.Add(b, report.Row{
			Name:  fmt.Sprintf("start to the first 200, with %s apps", grouped(most)),
			Value: median(startTimes(b, last)).Seconds() * 1000, Unit: "ms", Goal: report.Without(report.Lower),
		})
	})
}

// BenchmarkFamilies: what a refresh costs as refresh families grow. SPEED_FAMILIES is
// how many there are at most.
func BenchmarkFamilies(b *testing.B) {
	once(b, func() {
		// Each connection needs one of the fewest.
		sizes := thirds(max(number(b, "SPEED_FAMILIES", 1_000_000), 100*connections))
		for _, e := range engines(b) {
			var sides []side
			for _, n := range sizes {
				r := newRefreshing(b, e, n, false)
				sides = append(sides, side{server: r.process, asked: r.asked})
			}
			samples := grow(b, fmt.Sprintf("families on %s", e), oauth.GrantRefreshToken, sizes, sides...)
			report.Add(b, report.Row{
				Name:  fmt.Sprintf("refresh_token with %s families on %s, to %s", grouped(sizes[2]), e, grouped(sizes[0])),
				Value: ratio(samples[2], samples[0], rate), Goal: report.Without(report.Higher),
				Note: fmt.Sprintf("%.0f/s to %.0f/s", typical(samples[2]).rate, typical(samples[0]).rate),
			})
			for _, s := range sides {
				s.server.stop()
			}
		}
	})
}

// BenchmarkRevocations: what an introspection costs as revoked tokens grow that would be
// alive otherwise. SPEED_REVOCATIONS is how many there are at most.
func BenchmarkRevocations(b *testing.B) {
	once(b, func() {
		sizes := thirds(number(b, "SPEED_REVOCATIONS", 100_000))
		var sides []side
		for _, n := range sizes {
			i := newInstallation(b, onSQLite())
			p := i.start(b)
			apps := register(b, p, i.admin, ofApps, forThemselves(""))
			p.stop()
			i.endedTokens(b, n)
			p = i.start(b)
			sides = append(sides, side{server: p, asked: active(introspections(b, p, apps))})
		}
		grow(b, "revoked tokens", "introspection", sizes, sides...)
		report.Add(b, report.Row{
			Name:  fmt.Sprintf("memory with %s revoked tokens", grouped(sizes[2])),
			Value: sides[2].server.resident(b), Unit: "MiB", Goal: report.Without(report.Lower),
		})
		for _, s := range sides {
			s.server.stop()
		}
	})
}
