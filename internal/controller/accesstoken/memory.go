// SPDX-License-Identifier: Apache-2.0

package accesstoken

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/refresher"
)

const (
	// calm is how long a Secret must be left alone until earlier repairs are
	// forgotten.
	calm = time.Hour
	// fight is how many repairs are more than a slip.
	fight = 3
)

// repairBackoff paces the repairs of one Secret. The first is made at once, and
// so is each one of a placeholder that is applied every ten minutes.
var repairBackoff = refresher.Backoff{Initial: time.Second, Max: 10 * time.Minute}

// memory is what is known of each AccessToken beside its objects. It is lost
// with the process, which then starts with short pauses again. The zero value is
// ready; it is safe for use by several goroutines.
type memory struct {
	mu     sync.Mutex
	byName map[types.NamespacedName]record
}

// record is what is known of one AccessToken.
type record struct {
	// failures are those since the last token, problem is what the last one was;
	// nil: none.
	failures refresher.Failures
	problem  *status.Error
	// issued and expires are the times of the token in the Secret, bound to the
	// monotonic clock when it was first seen.
	issued, expires time.Time
	// repairs counts how often the Secret was written anew since it was last
	// left alone, lastRepair is when, and rival who made it necessary.
	repairs    int
	lastRepair time.Time
	rival      string
	// spent is a refresh token that was used, next its successor, which is not
	// stored yet; empty: none.
	spent, next string
}

func (m *memory) change(name types.NamespacedName, f func(*record)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byName == nil {
		m.byName = map[types.NamespacedName]record{}
	}
	r := m.byName[name]
	f(&r)
	m.byName[name] = r
}

// failures are the failed requests since the last token, and what the last one
// was.
func (m *memory) failures(name types.NamespacedName) (failures refresher.Failures, problem *status.Error) {
	m.change(name, func(r *record) { failures, problem = r.failures, r.problem })
	return failures, problem
}

// failed remembers one more and reports whether it says something new.
func (m *memory) failed(name types.NamespacedName, failures refresher.Failures, problem *status.Error) (news bool) {
	m.change(name, func(r *record) {
		news = r.problem == nil || r.problem.Message != problem.Message
		r.failures, r.problem = failures, problem
	})
	return news
}

func (m *memory) succeeded(name types.NamespacedName) {
	m.change(name, func(r *record) { r.failures, r.problem = refresher.Failures{}, nil })
}

// impatient lets a failure be tried again at once, but for what the server itself
// asked to wait. It tells whether there was one.
func (m *memory) impatient(name types.NamespacedName) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.byName[name]
	if !ok || r.failures.Count == 0 {
		return false
	}
	r.failures.Delay = 0
	m.byName[name] = r
	return true
}

// rotated remembers the successor of a refresh token until it is stored.
func (m *memory) rotated(name types.NamespacedName, spent, next string) {
	m.change(name, func(r *record) { r.spent, r.next = spent, next })
}

// successor is that of a refresh token; empty: none that is not stored.
func (m *memory) successor(name types.NamespacedName, of string) (next string) {
	m.change(name, func(r *record) {
		if r.spent == of {
			next = r.next
		}
	})
	return next
}

// anchored is a token as it was first seen.
func (m *memory) anchored(name types.NamespacedName, token *refresher.Held, now time.Time) *refresher.Held {
	if token == nil {
		return nil
	}
	anchored := token.Anchored(now)
	m.change(name, func(r *record) {
		if r.issued.Round(0).Equal(token.IssuedAt) && r.expires.Round(0).Equal(token.ExpiresAt) {
			anchored.IssuedAt, anchored.ExpiresAt = r.issued, r.expires
			return
		}
		r.issued, r.expires = anchored.IssuedAt, anchored.ExpiresAt
	})
	return anchored
}

func (m *memory) repaired(name types.NamespacedName, now time.Time, rival string) {
	m.change(name, func(r *record) {
		if now.Sub(r.lastRepair) > calm {
			r.repairs = 0
		}
		r.repairs++
		r.lastRepair, r.rival = now, rival
	})
}

// nextRepair is when the Secret may be repaired again. It is in the past when
// that may be done now.
func (m *memory) nextRepair(name types.NamespacedName, now time.Time) time.Time {
	var next time.Time
	m.change(name, func(r *record) {
		if r.repairs > 0 && now.Sub(r.lastRepair) <= calm {
			next = r.lastRepair.Add(repairBackoff.Longest(r.repairs))
		}
	})
	return next
}

// fought tells who makes repairs necessary again and again, and until when that
// is worth a word; an empty name when nobody does.
func (m *memory) fought(name types.NamespacedName, now time.Time) (rival string, until time.Time) {
	m.change(name, func(r *record) {
		if r.repairs >= fight && now.Sub(r.lastRepair) <= calm {
			rival, until = r.rival, r.lastRepair.Add(calm+time.Second)
		}
	})
	return rival, until
}

func (m *memory) forget(name types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byName, name)
}
