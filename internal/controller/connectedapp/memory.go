// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"reflect"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/plan"
)

// memory is what the process knows of apps beyond the cache. Losing it costs a
// few calls, nothing else. Its zero value is empty.
type memory struct {
	mu   sync.Mutex
	apps map[types.UID]*remembered
}

type remembered struct {
	// version is the newest resource version of the object that we wrote.
	version string
	// at and want are when the client was last compared, and with what.
	at   time.Time
	want plan.Client
	// reason and generation are of the outcome that was told last.
	reason     string
	generation int64
	// notTaken are fields, with the value sent, that the server did not keep.
	notTaken map[string]string
}

// of returns the entry of an app. The caller holds the lock.
func (m *memory) of(uid types.UID) *remembered {
	if m.apps == nil {
		m.apps = map[types.UID]*remembered{}
	}
	entry := m.apps[uid]
	if entry == nil {
		entry = &remembered{}
		m.apps[uid] = entry
	}
	return entry
}

// wrote remembers the version that a write of ours produced.
func (m *memory) wrote(app *v1alpha1.ConnectedApp) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of(app.UID).version = app.ResourceVersion
}

// isBehind tells whether a cached object is older than what we wrote.
func (m *memory) isBehind(app *v1alpha1.ConnectedApp) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	entry := m.apps[app.UID]
	if entry == nil || entry.version == "" {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(app.ResourceVersion, entry.version)
	return err != nil || order < 0
}

// compared remembers that the client was compared with want.
func (m *memory) compared(uid types.UID, at time.Time, want plan.Client) {
	m.mu.Lock()
	defer m.mu.Unlock()
	entry := m.of(uid)
	entry.at, entry.want = at, want
}

// isDue tells whether the client has to be compared again.
func (m *memory) isDue(uid types.UID, now time.Time, interval time.Duration, want plan.Client) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	entry := m.apps[uid]
	// The pause before a resync is up to a fifth shorter than the interval.
	return entry == nil || now.Sub(entry.at) >= interval*4/5 || !reflect.DeepEqual(entry.want, want)
}

// learn remembers fields that the server was given and did not keep.
func (m *memory) learn(uid types.UID, changes []plan.Change) {
	m.mu.Lock()
	defer m.mu.Unlock()
	entry := m.of(uid)
	entry.notTaken = map[string]string{}
	for _, c := range changes {
		entry.notTaken[c.Field] = c.New
	}
}

// notTaken are the fields of these changes of which the server is known not to
// keep that value.
func (m *memory) notTaken(uid types.UID, changes []plan.Change) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	entry := m.apps[uid]
	if entry == nil {
		return nil
	}
	var fields []string
	for _, c := range changes {
		if value, ok := entry.notTaken[c.Field]; ok && value == c.New {
			fields = append(fields, c.Field)
		}
	}
	return fields
}

// reported notes an outcome and tells whether it is a new one.
func (m *memory) reported(uid types.UID, reason string, generation int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	entry := m.of(uid)
	news := entry.reason != reason || entry.generation != generation
	entry.reason, entry.generation = reason, generation
	return news
}

// forget drops an app that is gone.
func (m *memory) forget(uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.apps, uid)
}
