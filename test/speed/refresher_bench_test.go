// SPDX-License-Identifier: Apache-2.0

package speed

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/test/report"
)

// refreshes is how often the refresher has refreshed when its memory is looked at.
const refreshes = 10

// BenchmarkRefresher: what the refresher takes that keeps one token in files, beside a
// token server. SPEED_IDLE is how many seconds it is watched between two refreshes:
// less than one tick of the kernel counts as none.
func BenchmarkRefresher(b *testing.B) {
	once(b, func() {
		binary, err := os.Stat(filepath.Join(binaries, "refresher"))
		require.NoError(b, err)
		report.Add(b, report.Row{Name: "binary of the refresher", Value: float64(binary.Size()) / (1 << 20), Unit: "MiB", Goal: report.AtMost(8)})

		resting, _ := startRefresher(b, time.Hour)
		report.Add(b, report.Row{Name: "memory of the refresher after its first token", Value: resting.resident(b), Unit: "MiB", Goal: report.AtMost(10)})
		idle := time.Duration(number(b, "SPEED_IDLE", 60)) * time.Second
		report.Progress(b, "watching the refresher for %s", idle)
		testenv.Eventually(b, func(r *require.Assertions) {
			before := running(b, resting)
			time.Sleep(100 * time.Millisecond) // until it rests
			r.Equal(before, running(b, resting))
		})
		before := running(b, resting)
		time.Sleep(idle) // a benchmark of what happens as time goes by
		spent := running(b, resting) - before
		report.Add(b, report.Row{
			Name: "CPU of the refresher between refreshes", Value: spent.Seconds() * 1000, Unit: "ms", Goal: report.AtMost(tick.Seconds() * 1000),
			Note: fmt.Sprintf("in %s", idle),
		})
		resting.stop()

		busy, token := startRefresher(b, 3*time.Second)
		seen := map[string]bool{}
		testenv.EventuallyWithin(b, time.Minute, func(r *require.Assertions) {
			content, err := os.ReadFile(token)
			r.NoError(err)
			seen[string(content)] = true
			report.Progress(b, "the refresher: %d of %d refreshes", len(seen)-1, refreshes)
			r.Greater(len(seen), refreshes)
		})
		report.Add(b, report.Row{
			Name: fmt.Sprintf("memory of the refresher after %d refreshes", refreshes), Value: busy.resident(b), Unit: "MiB", Goal: report.AtMost(10),
			Note: fmt.Sprintf("%.1f MiB at most", busy.peak(b)),
		})
		busy.stop()
	})
}

// startRefresher starts one, and a token server whose tokens live so long; token is the
// file of the token, which is there.
func startRefresher(t testing.TB, life time.Duration) (p *process, token string) {
	t.Helper()
	i := newInstallation(t, onSQLite(), "accessTokenLifetime: "+life.String())
	server := i.start(t)
	a := register(t, server, i.admin, 1, forThemselves(""))[0]
	credentials, output := t.TempDir(), t.TempDir()
	for name, content := range map[string]string{"client-id": a.ID, "client-secret": a.Secret, "token-url": "http://" + server.address + oauth.PathToken} {
		require.NoError(t, os.WriteFile(filepath.Join(credentials, name), []byte(content), 0o600))
	}
	p = launch(t, "", "refresher", "--credentials-dir="+credentials, "--output-dir="+output)
	token = filepath.Join(output, "access-token")
	testenv.Eventually(t, func(r *require.Assertions) { r.FileExists(token) })
	return p, token
}

// running is how long the threads of a process have run, in nanoseconds of which the
// kernel's ticks show nothing.
func running(t testing.TB, p *process) (total time.Duration) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.command.Process.Pid))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		first, _, _ := strings.Cut(string(text), " ")
		n, err := strconv.ParseInt(first, 10, 64)
		require.NoError(t, err)
		total += time.Duration(n)
	}
	return total
}
