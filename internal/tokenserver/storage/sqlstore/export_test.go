// SPDX-License-Identifier: Apache-2.0

package sqlstore

// Waiting is how many changes wait for the writer.
func (s *Store) Waiting() int {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	return len(s.queue.waiting)
}
