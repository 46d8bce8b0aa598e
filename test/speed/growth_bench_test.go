// SPDX-License-Identifier: Apache-2.0

package speed

import (
	"fmt"
	"testing"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/test/report"
)

// grown is a server that has some number of what grows, and what it is asked.
type grown struct {
	*installation
	*process
	requests []named
}

// named is what is asked, with a name for people.
type named struct {
	name string
	asked
}

// grow reports what each request costs with ten and a hundred times as much of
// something, which is what people read; sizes are how much each of the servers has. It
// returns the samples of each server of the first request.
func grow(b *testing.B, what string, sizes [3]int, servers [3]grown) (first [3][]sample) {
	b.Helper()
	for r, request := range servers[0].requests {
		var sides []side
		for _, g := range servers {
			// A cost needs fewer and shorter rounds than a rate.
			sides = append(sides, side{server: g.process, asked: g.requests[r].asked, during: during(b) / 2})
		}
		samples := alternate(b, (pairs(b)+1)/2, fmt.Sprintf("%s with many %s", request.name, what), sides...)
		for i := 1; i < len(sizes); i++ {
			few, many := typical(samples[0]), typical(samples[i])
			report.Add(b, report.Row{
				Name:  fmt.Sprintf("CPU of %s with %s %s, to %s", request.name, grouped(sizes[i]), what, grouped(sizes[0])),
				Value: ratio(samples[i], samples[0], processor), Goal: report.Without(report.Lower),
				Note: fmt.Sprintf("%s µs to %s", many.cost(), few.cost()),
			})
		}
		if r == 0 {
			first = [3][]sample(samples)
		}
	}
	return first
}

// rest reports what the server takes beside the CPU of requests, which it has answered,
// and how long it takes to start, and stops it.
func (g grown) rest(b *testing.B, with string, memory report.Goal) {
	b.Helper()
	report.Add(b, report.Row{
		Name: "memory with " + with, Value: g.resident(b), Unit: "MiB", Goal: memory, Note: fmt.Sprintf("after requests; %.0f MiB at most", g.peak(b)),
	})
	g.stop()
	started(b, "start to the first 200, with "+with, g.installation, report.Without(report.Lower))
}

func thirds(most int) [3]int { return [3]int{max(1, most/100), max(1, most/10), most} }

// BenchmarkApps: what a request costs as apps grow, and what many of them take.
// SPEED_APPS is how many.
func BenchmarkApps(b *testing.B) {
	once(b, func() {
		sizes := thirds(max(number(b, "SPEED_APPS", 10_000), 100*appsOfPage))
		for _, e := range engines(b) {
			var servers [3]grown
			for i, n := range sizes {
				servers[i] = withApps(b, e, n)
				servers[i].requests = append(servers[i].requests, named{"a page of apps", pages(b, servers[i].process, servers[i].admin, n)})
			}
			grow(b, fmt.Sprintf("apps on %s", e), sizes, servers)
			againstFew(b, e, servers[2], sizes[2])
			servers[0].stop()
			servers[1].stop()
			servers[2].rest(b, fmt.Sprintf("%s apps on %s", grouped(sizes[2]), e), report.AtMost(64))
		}
	})
}

// withApps is a server with n apps.
func withApps(b *testing.B, e engine, n int) grown {
	report.Progress(b, "registering %s apps on %s", grouped(n), e)
	i := newInstallation(b, e)
	p := i.start(b)
	apps := register(b, p, i.admin, n, forThemselves(""))
	// What registering took is not what having them takes.
	p.stop()
	i.vacuum(b)
	p = i.start(b)
	return grown{i, p, []named{
		{oauth.GrantClientCredentials, inTurn(forms(p, apps))},
		{"introspection", active(introspections(b, p, apps))},
	}}
}

// againstFew reports the rate with many apps as a ratio to that with ten.
func againstFew(b *testing.B, e engine, many grown, apps int) {
	b.Helper()
	const few = 10
	other := withApps(b, e, few)
	defer other.stop()
	compare(b, fmt.Sprintf("client_credentials with %s apps on %s, to %d", grouped(apps), e, few), report.AtLeast(0.90),
		side{server: many.process, asked: many.requests[0].asked}, side{server: other.process, asked: other.requests[0].asked})
}

// BenchmarkFamilies: what a request costs as refresh families grow, beside many apps,
// and what many families take. SPEED_FAMILIES and SPEED_APPS are how many there are at
// most.
func BenchmarkFamilies(b *testing.B) {
	once(b, func() {
		// Each connection needs one of the fewest.
		sizes := thirds(max(number(b, "SPEED_FAMILIES", 1_000_000), 100*connections))
		apps := number(b, "SPEED_APPS", 10_000)
		for _, e := range engines(b) {
			var servers [3]grown
			for i, n := range sizes {
				report.Progress(b, "registering %s apps on %s", grouped(apps), e)
				r := newRefreshing(b, e, apps, n, false)
				machines := register(b, r.process, r.admin, connections, forThemselves(""))
				servers[i] = grown{r.installation, r.process, []named{
					{oauth.GrantRefreshToken, r.asked},
					{"introspection of a refresh token", r.introspected},
					{oauth.GrantClientCredentials, inTurn(forms(r.process, machines))},
				}}
			}
			samples := grow(b, fmt.Sprintf("families on %s", e), sizes, servers)
			report.Add(b, report.Row{
				Name:  fmt.Sprintf("refresh_token with %s families on %s, to %s", grouped(sizes[2]), e, grouped(sizes[0])),
				Value: ratio(samples[2], samples[0], rate), Goal: report.Without(report.Higher),
				Note: fmt.Sprintf("%.0f/s to %.0f/s", typical(samples[2]).rate, typical(samples[0]).rate),
			})
			servers[0].stop()
			servers[1].stop()
			servers[2].rest(b, fmt.Sprintf("%s families and %s apps on %s", grouped(sizes[2]), grouped(apps), e), report.AtMost(64))
		}
	})
}

// BenchmarkRevocations: what an introspection costs as revoked tokens grow that would be
// alive otherwise. SPEED_REVOCATIONS is how many there are at most.
func BenchmarkRevocations(b *testing.B) {
	once(b, func() {
		sizes := thirds(number(b, "SPEED_REVOCATIONS", 100_000))
		var servers [3]grown
		for i, n := range sizes {
			servers[i] = withRevocations(b, n)
		}
		grow(b, "revoked tokens", sizes, servers)
		servers[0].stop()
		servers[1].stop()
		servers[2].rest(b, grouped(sizes[2])+" revoked tokens", report.Without(report.Lower))
	})
}

func withRevocations(b *testing.B, n int) grown {
	i := newInstallation(b, onSQLite())
	p := i.start(b)
	apps := register(b, p, i.admin, ofApps, forThemselves(""))
	p.stop()
	i.endedTokens(b, n)
	p = i.start(b)
	return grown{i, p, []named{{"introspection", active(introspections(b, p, apps))}}}
}
