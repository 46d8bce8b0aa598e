// SPDX-License-Identifier: Apache-2.0

package heap_test

import (
	"runtime"
	"runtime/metrics"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/heap"
	"connectedapps.dev/operator/internal/testenv"
)

const mib = 1 << 20

func TestPercent(t *testing.T) {
	for name, test := range map[string]struct {
		floor, alive, roots uint64
		want                int
	}{
		"nothing was collected yet":                          {32 * mib, 0, 0, 800},
		"so little is alive that the runtime's least counts": {32 * mib, 2 * mib, 1 * mib, 800},
		"as much as fills the floor up":                      {32 * mib, 7 * mib, 1 * mib, 312},
		"half of the floor is alive":                         {32 * mib, 16 * mib, 0, 100},
		"nearly all of the floor is alive":                   {32 * mib, 31 * mib, 1 * mib, 100},
		"more than the floor is alive":                       {32 * mib, 64 * mib, 1 * mib, 100},
		"a floor below the runtime's own":                    {1 * mib, 0, 0, 100},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.want, heap.Percent(test.floor, test.alive, test.roots))
		})
	}
}

func gogc() uint64 {
	sample := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// collectUntil collects until GOGC is as it should be.
func collectUntil(t *testing.T, right func(gogc uint64) bool) {
	t.Helper()
	testenv.Eventually(t, func(r *require.Assertions) {
		runtime.GC()
		r.True(right(gogc()), "GOGC is %d", gogc())
	})
}

func TestAnExplicitGOGCIsKept(t *testing.T) {
	before := gogc()
	t.Setenv("GOGC", "50")
	heap.KeepFloor(64 * mib)
	require.Equal(t, before, gogc(), "only the runtime reads GOGC, at the start")
}

// It stands last: what follows the collector goes on.
func TestTheCollectorFollowsWhatIsAlive(t *testing.T) {
	t.Setenv("GOGC", "")
	heap.KeepFloor(256 * mib)
	collectUntil(t, func(gogc uint64) bool { return gogc > 1000 })
	alive := make([]byte, 256*mib)
	collectUntil(t, func(gogc uint64) bool { return gogc == 100 })
	runtime.KeepAlive(alive)
	collectUntil(t, func(gogc uint64) bool { return gogc > 1000 })
}
