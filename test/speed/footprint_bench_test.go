// SPDX-License-Identifier: Apache-2.0

package speed

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
)

// BenchmarkFootprint measures what the token server takes before anybody asks it,
// and whether it answers as fast when it has many apps. SPEED_APPS is how many.
func BenchmarkFootprint(b *testing.B) {
	for b.Loop() {
		pin(b)
		many := number(b, "SPEED_APPS", 10000)
		small, large := newInstallation(b), newInstallation(b)
		few, crowd := small.start(b), large.start(b)
		idle := few.resident(b)
		fewApps := register(b, few, small.admin, 10)
		apps := register(b, crowd, large.admin, many)
		crowd.stop()
		startMany := startTimes(b, large)
		crowd = large.start(b)
		loaded := crowd.resident(b)
		result := measure(b, crowd, row{"rate with many apps to 10", 0.90, forms(crowd, apps), forms(few, fewApps), few})
		b.Log(line(result))
		binary, err := os.Stat(filepath.Join(binaries, "tokenserver"))
		require.NoError(b, err)
		b.ReportMetric(result.ratio, "rate/10-apps")
		b.ReportMetric(idle, "MiB-idle")
		b.ReportMetric(loaded, "MiB-with-apps")
		b.ReportMetric(crowd.resident(b), "MiB-under-load")
		few.stop()
		b.ReportMetric(median(startTimes(b, small)).Seconds()*1000, "ms-to-first-200")
		b.ReportMetric(median(startMany).Seconds()*1000, "ms-to-first-200-with-apps")
		b.ReportMetric(float64(binary.Size())/1e6, "MB-binary")
		b.ReportMetric(0, "ns/op")
	}
}

// startTimes are from the start of the process to the first token.
func startTimes(t testing.TB, i *installation) (all []time.Duration) {
	t.Helper()
	first := request(i.listen, oauth.PathToken, form, i.admin.form("grant_type", oauth.GrantClientCredentials))
	for range number(t, "SPEED_PAIRS", 9) {
		begin := time.Now()
		p := launch(t, i.listen, "tokenserver", "serve", "--config="+i.config)
		for !answers(i.listen, first) {
			require.Less(t, time.Since(begin), time.Minute)
		}
		all = append(all, time.Since(begin))
		p.stop()
	}
	slices.Sort(all)
	return all
}

// answers tells whether a request is answered with 200 already.
func answers(address string, send []byte) bool {
	body, status := try(address, send)
	return status == http.StatusOK && len(body) > 0
}
