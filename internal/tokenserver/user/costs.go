// SPDX-License-Identifier: Apache-2.0

package user

import (
	"sync"

	"connectedapps.dev/operator/internal/tokenserver/directory"
)

// cost is what a derivation costs: hashes of equal cost take equally long.
type cost struct {
	memory, time uint32
	threads      uint8
}

func (h PasswordHash) cost() cost { return cost{h.memory, h.time, h.threads} }

// costs knows what the hashes of the directory cost. With only one's own hash to
// check, time would tell the names of users with a cheaper or dearer one from
// those that do not exist.
type costs struct {
	mu      sync.Mutex
	dir     *directory.Directory
	dummies []PasswordHash
}

// of returns one hash that matches nothing for each different cost in dir, at
// least one. It reads the hashes once for each snapshot.
func (c *costs) of(dir *directory.Directory) []PasswordHash {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dir == dir && c.dummies != nil {
		return c.dummies
	}
	c.dir, c.dummies = dir, nil
	seen := map[cost]bool{}
	for _, u := range dir.Users() {
		h, err := ParsePasswordHash(u.PasswordHash)
		if err != nil || seen[h.cost()] {
			continue
		}
		seen[h.cost()] = true
		c.dummies = append(c.dummies, noPassword(h.cost()))
	}
	if c.dummies == nil {
		c.dummies = []PasswordHash{noPassword(defaultCost)}
	}
	return c.dummies
}

var defaultCost = cost{defaultMemory, defaultTime, defaultThreads}

// noPassword costs what a real check costs and matches nothing, for names that
// do not exist.
func noPassword(c cost) PasswordHash {
	return PasswordHash{memory: c.memory, time: c.time, threads: c.threads, salt: make([]byte, saltLength), key: make([]byte, keyLength)}
}
