// SPDX-License-Identifier: Apache-2.0

package campaign

import (
	"net/http"
	"regexp"
	"time"
)

const (
	// longest is how long a manager lives at most.
	longest = 15 * time.Second
	// idle is how long nothing changes until a manager is taken to be at rest.
	idle = 200 * time.Millisecond
)

// toAPI passes a manager's requests on to the API server.
func (c *campaign) toAPI(onward http.RoundTripper) roundTrip {
	return func(r *http.Request) (*http.Response, error) { return c.apiKnife.Load().pass(r, changes(r), onward) }
}

// life is one manager, from its start to its death, while others do their
// deeds and now and then the token server dies too.
func (c *campaign) life() {
	of := []func(*http.Request) bool{anyStep, onObjects, onServer}[c.random.IntN(3)]
	at := 1 + c.random.IntN(8)
	if c.random.IntN(10) == 0 {
		at += c.random.IntN(40)
	}
	delivered := c.random.IntN(2) == 0
	deeds := c.deeds(2 + at/3 + c.random.IntN(3))
	serverAt := 0
	if c.random.IntN(12) == 0 {
		serverAt = 1 + c.random.IntN(5)
	}
	c.gateway.fail([]float64{0, 0, 0.05}[c.random.IntN(3)])

	var manager *process
	started := make(chan struct{})
	managerKnife := newKnife(at, of, delivered, func() { <-started; manager.kill() })
	serverKnife := newKnife(serverAt, anyStep, c.random.IntN(2) == 0, c.server.kill)
	c.gateway.server.Store(serverKnife)
	c.gateway.manager.Store(managerKnife)
	c.apiKnife.Store(managerKnife)
	manager = startManager(c, c.traces, c.api, "--resync-interval=10m")
	close(started)
	for _, deed := range deeds {
		deed()
	}
	c.follow(manager, managerKnife, serverKnife)
	if managerKnife.struck == "" {
		c.atRest++
	} else {
		c.atSteps++
		c.struck[wordOf(managerKnife.struck)]++
	}
	c.gateway.server.Store(blunt())
}

// follow waits until the manager dies, and kills it when it comes to rest.
// Meanwhile a token server that dies is started again.
func (c *campaign) follow(manager *process, managerKnife, serverKnife *knife) {
	deadline := time.NewTimer(longest)
	defer deadline.Stop()
	pause := time.NewTicker(idle)
	defer pause.Stop()
	steps := -1
	for dead := false; !dead; {
		select {
		case <-managerKnife.cut:
			dead = true
		case <-serverKnife.cut:
			serverKnife = c.revive()
		case <-deadline.C:
			c.rest(manager, managerKnife)
		case <-pause.C:
			now := managerKnife.count()
			if now == steps && now > 0 {
				c.rest(manager, managerKnife)
			}
			steps = now
		}
	}
	if serverKnife.sheathe() {
		c.revive()
	}
}

// revive starts the token server again after its death.
func (c *campaign) revive() *knife {
	c.onServer++
	k := blunt()
	c.gateway.server.Store(k)
	c.server.start(c)
	return k
}

// rest kills a manager that has nothing to do.
func (c *campaign) rest(manager *process, k *knife) {
	if c.random.IntN(10) == 0 {
		c.scrape(manager)
	}
	k.strike()
}

var names = regexp.MustCompile(`(app-|test-|[0-9a-f]{32}|[0-9a-f-]{36}|server-)[-0-9a-z]*`)

// wordOf is a step without names, to count steps of a kind.
func wordOf(step string) string { return names.ReplaceAllString(step, "…") }
