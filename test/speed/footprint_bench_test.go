// SPDX-License-Identifier: Apache-2.0

package speed

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/test/report"
)

// BenchmarkFootprint: what the token server takes before anybody asks it, and after
// many tokens. SPEED_TOKENS is how many.
func BenchmarkFootprint(b *testing.B) {
	once(b, func() {
		binary, err := os.Stat(filepath.Join(binaries, "tokenserver"))
		require.NoError(b, err)
		report.Add(b, report.Row{Name: "binary", Value: float64(binary.Size()) / 1e6, Unit: "MB", Goal: report.AtMost(25)})
		i := newInstallation(b, onSQLite())
		p := i.start(b)
		report.Add(b, report.Row{Name: "memory at rest", Value: p.resident(b), Unit: "MiB", Goal: report.AtMost(25)})

		apps := register(b, p, i.admin, ofApps, forThemselves(""))
		many, issued := number(b, "SPEED_TOKENS", 200_000), 0
		for ask := inTurn(forms(p, apps)); issued < many; {
			report.Progress(b, "%s of %s tokens", grouped(issued), grouped(many))
			issued += load(b, p.address, ask, connections, during(b))
		}
		report.Add(b, report.Row{
			Name: fmt.Sprintf("memory after %s tokens", grouped(many)), Value: p.resident(b), Unit: "MiB", Goal: report.AtMost(64),
			Note: fmt.Sprintf("%.0f MiB at most", p.peak(b)),
		})
		p.stop()

		fresh := newInstallation(b, onSQLite())
		fresh.start(b).stop()
		started(b, "start to the first 200", fresh, report.AtMost(40))
	})
}

// started reports the time from the start of the process to the first token; schema and
// keys are there.
func started(t testing.TB, name string, i *installation, goal report.Goal) {
	t.Helper()
	report.Progress(t, "starting %d times", pairs(t))
	first := request(i.listen, oauth.PathToken, form, i.admin.form("grant_type", oauth.GrantClientCredentials))
	var times, costs []time.Duration
	for range pairs(t) {
		begin := time.Now()
		p := launch(t, i.listen, "tokenserver", "serve", "--config="+i.config)
		for !answers(i.listen, first) {
			require.Less(t, time.Since(begin), time.Minute)
		}
		times = append(times, time.Since(begin))
		cost, _ := p.processor(t)
		costs = append(costs, cost)
		p.stop()
	}
	report.Add(t, report.Row{
		Name: name, Value: median(times).Seconds() * 1000, Unit: "ms", Goal: goal, Note: fmt.Sprintf("%d ms CPU", median(costs).Milliseconds()),
	})
}

// answers tells whether a request is answered with 200 already.
func answers(address string, send []byte) bool {
	body, status := try(address, send)
	return status == http.StatusOK && len(body) > 0
}
