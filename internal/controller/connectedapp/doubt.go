// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"connectedapps.dev/operator/api/v1alpha1"
)

// doubtPause is how often an app is looked at because somebody doubts it: who
// cannot have a token asks again and again.
const doubtPause = time.Minute

// Doubt has an app compared with its client soon, whatever was found at the last
// resync: the token server did not take its client secret. It does not block.
func (r *Reconciler) Doubt(app types.NamespacedName) {
	if !r.registered.doubt(app, r.now()) {
		return
	}
	doubted := &v1alpha1.ConnectedApp{}
	doubted.Namespace, doubted.Name = app.Namespace, app.Name
	select {
	case r.doubted <- event.GenericEvent{Object: doubted}:
	default: // whoever doubts does so again
	}
}

// doubt is what is known of an app that somebody doubts.
type doubt struct {
	at time.Time
	// open: the client was not read since.
	open bool
}

// doubt notes that an app is doubted, and reports whether it is time to look.
func (d *registered) doubt(app types.NamespacedName, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.Sub(d.doubts[app].at).Abs() < doubtPause {
		return false
	}
	if d.doubts == nil {
		d.doubts = map[types.NamespacedName]doubt{}
	}
	d.doubts[app] = doubt{at: now, open: true}
	return true
}

// takeDoubt reports whether the client has to be read, and that it is being: what is
// doubted from here on is another doubt. Who could not read it gives it back.
func (d *registered) takeDoubt(app types.NamespacedName) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	known := d.doubts[app]
	if known.open {
		d.doubts[app] = doubt{at: known.at}
	}
	return known.open
}

// giveBackDoubt has the client read next time; of an app that was forgotten since
// nobody is left to read it.
func (d *registered) giveBackDoubt(app types.NamespacedName) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if known, ok := d.doubts[app]; ok {
		d.doubts[app] = doubt{at: known.at, open: true}
	}
}
