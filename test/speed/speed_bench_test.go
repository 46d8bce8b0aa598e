// SPDX-License-Identifier: Apache-2.0

package speed

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
)

var (
	// binaries is the folder with tokenserver and ceiling.
	binaries string
	// pinned tells that this process keeps to its own core.
	pinned bool
)

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "speed-")
	if err != nil {
		panic(err)
	}
	binaries = folder
	code := 1
	if err := build(); err != nil {
		fmt.Fprintf(os.Stderr, "building the binaries: %v\n", err)
	} else {
		code = m.Run()
	}
	_ = os.RemoveAll(folder)
	os.Exit(code)
}

func build() error {
	command := exec.Command("go", "build", "-ldflags=-s -w", "-o", binaries+string(filepath.Separator), "./cmd/tokenserver", "./test/speed/ceiling")
	command.Dir = testenv.ModuleRoot()
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		return errors.Join(err, errors.New(string(out)))
	}
	return nil
}

// pin keeps this process, the client, to its own core.
func pin(t testing.TB) {
	t.Helper()
	if runtime.NumCPU() == 1 || pinned {
		return
	}
	out, err := exec.Command("taskset", "-a", "-p", "-c", clientCore, strconv.Itoa(os.Getpid())).CombinedOutput()
	require.NoError(t, err, "%s", out)
	pinned = true
}

// row is one line of the table: what is asked of the two.
type row struct {
	name    string
	budget  float64
	ours    [][]byte
	ceiling [][]byte
	// against is the process that ceiling goes to.
	against *process
}

// result is what a row measured: medians over the pairs.
type result struct {
	row
	ratio      float64
	rate       float64 // of ours, in requests a second
	cpu, least time.Duration
}

const form, jsonObject = "application/x-www-form-urlencoded", "application/json"

// BenchmarkTokenServer prints a table of ratios to the ceiling program.
func BenchmarkTokenServer(b *testing.B) {
	for b.Loop() {
		pin(b)
		i := newInstallation(b)
		ours := i.start(b)
		apps := register(b, ours, i.admin, 1000)
		ceiling := startCeiling(b, apps)
		var results []result
		for _, r := range rows(b, ours, ceiling, apps) {
			results = append(results, measure(b, ours, r))
			b.Log(line(results[len(results)-1]))
		}
		for _, r := range results {
			b.ReportMetric(r.ratio, strings.ReplaceAll(r.name, " ", "-"))
		}
		b.ReportMetric(0, "ns/op")
	}
}

func rows(t testing.TB, ours, ceiling *process, apps []app) []row {
	var objects [][]byte
	for _, a := range apps {
		objects = append(objects, request(ours.address, oauth.PathToken, jsonObject, a.json(t, "grant_type", oauth.GrantClientCredentials)))
	}
	ourForms, theirForms := forms(ours, apps), forms(ceiling, apps)
	introspections := func(p *process, forms [][]byte) (all [][]byte) {
		for i, a := range apps {
			var issued oauth.TokenResponse
			require.NoError(t, json.Unmarshal(post(t, p.address, forms[i]), &issued))
			all = append(all, request(p.address, oauth.PathIntrospect, form, a.form("token", issued.AccessToken)))
		}
		return all
	}
	return []row{
		{"client_credentials", 0.85, ourForms, theirForms, ceiling},
		{"client_credentials JSON to form", 0.90, objects, ourForms, ours},
		{"introspection of a JWT", 0.85, introspections(ours, ourForms), introspections(ceiling, theirForms), ceiling},
	}
}

// forms are a token request of every app.
func forms(p *process, apps []app) (all [][]byte) {
	for _, a := range apps {
		all = append(all, request(p.address, oauth.PathToken, form, a.form("grant_type", oauth.GrantClientCredentials)))
	}
	return all
}

// measure asks both in turn.
func measure(t testing.TB, ours *process, r row) result {
	t.Helper()
	pairs, during := number(t, "SPEED_PAIRS", 9), time.Duration(number(t, "SPEED_SECONDS", 2))*time.Second
	once := func(p *process, requests [][]byte) (rate float64, cpu time.Duration) {
		before, start := p.cpu(t), time.Now()
		answered := load(t, p.address, requests, during)
		return float64(answered) / time.Since(start).Seconds(), (p.cpu(t) - before) / time.Duration(answered)
	}
	once(ours, r.ours)
	once(r.against, r.ceiling)
	var ratios, rates []float64
	var cpus, leasts []time.Duration
	for range pairs {
		rate, cpu := once(ours, r.ours)
		ceiling, least := once(r.against, r.ceiling)
		ratios, rates = append(ratios, rate/ceiling), append(rates, rate)
		cpus, leasts = append(cpus, cpu), append(leasts, least)
	}
	return result{row: r, ratio: median(ratios), rate: median(rates), cpu: median(cpus), least: median(leasts)}
}

// line is a row of the table, with a bar on which the budget is marked.
func line(r result) string {
	const width = 40
	bar := []rune(strings.Repeat("█", min(width, int(r.ratio*width))) + strings.Repeat("·", max(0, width-int(r.ratio*width))))
	bar[int(r.budget*width)] = '|'
	verdict := "within"
	if r.ratio < r.budget {
		verdict = "over"
	}
	return fmt.Sprintf("%-32s %5.2f %s budget %.2f %-6s %6.0f/s %4d µs CPU, ceiling %4d µs",
		r.name, r.ratio, string(bar), r.budget, verdict, r.rate, r.cpu.Microseconds(), r.least.Microseconds())
}

func median[T float64 | time.Duration](values []T) T {
	slices.Sort(values)
	return values[len(values)/2]
}

func number(t testing.TB, variable string, missing int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return missing
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, variable)
	return n
}
