// SPDX-License-Identifier: Apache-2.0

package accesstoken

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

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
	// failures counts failed requests for a token in a row, failure is what the
	// last one said.
	failures int
	failure  string
	// repairs counts how often the Secret was written anew since it was last
	// left alone, lastRepair is when, and rival who made it necessary.
	repairs    int
	lastRepair time.Time
	rival      string
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

// failed counts one more failure and reports whether it says something new.
func (m *memory) failed(name types.NamespacedName, message string) (count int, news bool) {
	m.change(name, func(r *record) {
		news = r.failure != message
		r.failures++
		r.failure = message
		count = r.failures
	})
	return count, news
}

func (m *memory) succeeded(name types.NamespacedName) {
	m.change(name, func(r *record) { r.failures, r.failure = 0, "" })
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
			next = r.lastRepair.Add(repairBackoff.Delay(r.repairs, 0, func() float64 { return 0 }))
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
