// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"reflect"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/plan"
)

// memory is what the process knows of apps beyond the cache. Losing it costs a
// few calls, nothing else. Its zero value is empty.
type memory struct {
	mu   sync.Mutex
	apps map[types.NamespacedName]*remembered
}

type remembered struct {
	// uid tells the object from an earlier one of the same name.
	uid types.UID
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

// of returns the entry of an app, which is empty for a new one. The caller holds
// the lock.
func (m *memory) of(app *v1alpha1.ConnectedApp) *remembered {
	if m.apps == nil {
		m.apps = map[types.NamespacedName]*remembered{}
	}
	key := client.ObjectKeyFromObject(app)
	entry := m.apps[key]
	if entry == nil || entry.uid != app.UID {
		entry = &remembered{uid: app.UID}
		m.apps[key] = entry
	}
	return entry
}

// wrote remembers the version that a write of ours produced.
func (m *memory) wrote(app *v1alpha1.ConnectedApp) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of(app).version = app.ResourceVersion
}

// isBehind tells whether a cached object is older than what we wrote.
func (m *memory) isBehind(app *v1alpha1.ConnectedApp) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	entry := m.of(app)
	if entry.version == "" {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(app.ResourceVersion, entry.version)
	return err != nil || order < 0
}

// compared remembers that the client was compared with want.
func (m *memory) compared(app *v1alpha1.ConnectedApp, at time.Time, want plan.Client) {
	m.mu.Lock()
	defer m.mu.Unlock()
	entry := m.of(app)
	entry.at, entry.want = at, want
}

// isDue tells whether the client has to be compared again.
func (m *memory) isDue(app *v1alpha1.ConnectedApp, now time.Time, interval time.Duration, want plan.Client) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	entry := m.of(app)
	// The pause before a resync is up to a fifth shorter than the interval.
	return now.Sub(entry.at) >= interval*4/5 || !reflect.DeepEqual(entry.want, want)
}

// learn remembers fields that the server was given and did not keep.
func (m *memory) learn(app *v1alpha1.ConnectedApp, changes []plan.Change) {
	m.mu.Lock()
	defer m.mu.Unlock()
	entry := m.of(app)
	if entry.notTaken == nil {
		entry.notTaken = map[string]string{}
	}
	for _, c := range changes {
		entry.notTaken[c.Field] = c.New
	}
}

// notTaken are the fields of these changes of which the server is known not to
// keep that value.
func (m *memory) notTaken(app *v1alpha1.ConnectedApp, changes []plan.Change) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	entry := m.of(app)
	var fields []string
	for _, c := range changes {
		if value, ok := entry.notTaken[c.Field]; ok && value == c.New {
			fields = append(fields, c.Field)
		}
	}
	return fields
}

// reported notes an outcome and tells whether it is a new one.
func (m *memory) reported(app *v1alpha1.ConnectedApp, reason string, generation int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	entry := m.of(app)
	news := entry.reason != reason || entry.generation != generation
	entry.reason, entry.generation = reason, generation
	return news
}

// forget drops an app that is gone.
func (m *memory) forget(key types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.apps, key)
}
