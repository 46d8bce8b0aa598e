// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"math/rand/v2"
	"sync"
	"time"
)

// trouble counts failed probes in a row, by the TokenServer's name. It is lost
// with the process, which then starts with short pauses again.
type trouble struct {
	mu       sync.Mutex
	failures map[string]int
}

// delay counts one more failure and returns the pause after it: 1 s that
// doubles up to longest, shortened at random by up to a quarter.
func (t *trouble) delay(name string, longest time.Duration) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failures == nil {
		t.failures = map[string]int{}
	}
	pause := time.Second << min(t.failures[name], 16)
	t.failures[name]++
	pause = min(pause, longest)
	return pause - time.Duration(rand.Float64()*float64(pause)/4)
}

// had tells whether the last probe failed.
func (t *trouble) had(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failures[name] > 0
}

func (t *trouble) forget(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.failures, name)
}
