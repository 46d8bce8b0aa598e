// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"math/rand/v2"
	"sync"
	"time"

	"connectedapps.dev/operator/internal/inventory"
)

// memory is what is known of TokenServers by their names beside their objects.
// It is lost with the process, which then starts with short pauses, a full list
// of apps and empty inventories.
type memory struct {
	mu      sync.Mutex
	servers map[string]*known
}

type known struct {
	// failures are the failed probes in a row.
	failures int
	// total is the number of apps on the server when it was last found in order.
	total int
	// healing tells whether lost clients that a person accepted become fewer.
	healing bool
	// connection is the last one that was handed over, also after it was
	// withdrawn.
	connection *inventory.Connection
}

// of returns what is known of a TokenServer, to be used under the lock.
func (m *memory) of(name string) *known {
	if m.servers == nil {
		m.servers = map[string]*known{}
	}
	if m.servers[name] == nil {
		m.servers[name] = &known{}
	}
	return m.servers[name]
}

// delay counts one more failure and returns the pause after it: 1 s that
// doubles up to longest, shortened at random by up to a quarter.
func (m *memory) delay(name string, longest time.Duration) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.of(name)
	pause := min(time.Second<<min(k.failures, 16), longest)
	k.failures++
	return pause - time.Duration(rand.Float64()*float64(pause)/4)
}

// failed tells whether the last probe failed.
func (m *memory) failed(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of(name).failures > 0
}

// succeeded ends a series of failures.
func (m *memory) succeeded(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of(name).failures = 0
}

// dropped tells whether a server has fewer apps than when they were last compared.
func (m *memory) dropped(name string, total int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return total < m.of(name).total
}

// compared notes how many apps a server has that is in order.
func (m *memory) compared(name string, total int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of(name).total = total
}

// heals notes whether accepted losses become fewer.
func (m *memory) heals(name string, healing bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of(name).healing = healing
}

func (m *memory) isHealing(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of(name).healing
}

// connected notes the connection that is handed over.
func (m *memory) connected(name string, connection *inventory.Connection) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of(name).connection = connection
}

// last returns the connection that was handed over last; nil when there was none.
func (m *memory) last(name string) *inventory.Connection {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of(name).connection
}

func (m *memory) forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.servers, name)
}
