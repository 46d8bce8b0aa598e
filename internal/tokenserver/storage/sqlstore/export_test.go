// SPDX-License-Identifier: Apache-2.0

package sqlstore

import "sync"

// Waiting is how many changes wait for the writer.
func (s *Store) Waiting() int {
	s.writes.mu.Lock()
	defer s.writes.mu.Unlock()
	return len(s.writes.waiting)
}

// Writing and Reading are how many statements of a kind are under way before callers
// share them.
const Writing, Reading = writing, reading

// Patient lets nobody's statement begin beside one that takes long.
func (s *Store) Patient() {
	s.shared.rotation.queue.patience = 0
	s.shared.use.queue.patience = 0
	s.shared.user.queue.patience = 0
}

// Sharing is how many callers wait for a statement that they will share.
func (s *Store) Sharing() int {
	waiting := func(mu *sync.Mutex, n func() int) int {
		mu.Lock()
		defer mu.Unlock()
		return n()
	}
	rotations, uses, users := &s.shared.rotation.queue, &s.shared.use.queue, &s.shared.user.queue
	return waiting(&rotations.mu, func() int { return len(rotations.waiting) }) +
		waiting(&uses.mu, func() int { return len(uses.waiting) }) + waiting(&users.mu, func() int { return len(users.waiting) })
}
