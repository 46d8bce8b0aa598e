// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/apply"
	"connectedapps.dev/operator/internal/controller/object"
	"connectedapps.dev/operator/internal/controller/ownership"
	"connectedapps.dev/operator/internal/controller/tombstone"
	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/plan"
)

// withPublished removes or releases all that the app published.
func (r *Reconciler) withPublished(ctx context.Context, p *pass, action plan.Kind) error {
	for _, kind := range []apply.Kind{apply.KindSecret, apply.KindConfigMap} {
		var names []string
		if kind == p.published() {
			names = append(names, p.in.Secret.Name)
		}
		if former := publishedName(p.app, kind); former != "" && !slices.Contains(names, former) {
			names = append(names, former)
		}
		for _, name := range names {
			if err := r.withObject(ctx, p, kind, name, action); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeFormer removes what the app published before.
func (r *Reconciler) removeFormer(ctx context.Context, p *pass, action plan.Action) error {
	kind := apply.KindSecret
	if action.Kind == plan.RemoveFormerConfigMap {
		kind = apply.KindConfigMap
	}
	err := r.withObject(ctx, p, kind, action.ID, action.Kind)
	if err == nil && kind != p.published() {
		setPublished(p.app, kind, "")
	}
	return err
}

// withObject does to an object of ours what the plan says; one that is gone, or
// somebody else's, is no error.
func (r *Reconciler) withObject(ctx context.Context, p *pass, kind apply.Kind, name string, action plan.Kind) error {
	objects := r.objectsOf(kind)
	live, err := objects.GetLive(ctx, p.app, name)
	if errors.Is(err, apply.ErrNotOurs) || err == nil && live == nil {
		return nil
	}
	if err != nil {
		return err
	}
	do := objects.Delete
	if action == plan.ReleaseSecret {
		do = objects.Release
	}
	return object.WriteError(kind.String()+" "+name, do(ctx, p.app, live))
}

// remember makes tombstones, so that the object can go before its client.
func (r *Reconciler) remember(ctx context.Context, p *pass) error {
	if err := r.bury(ctx, p.app); err != nil {
		return err
	}
	if p.app.Status.ClientID == "" {
		return nil // at most one that nobody has heard of
	}
	cause := fmt.Sprintf("TokenServer %s could not be asked within %s", p.in.Server.Name, p.in.Server.DeletionTimeout)
	if !p.in.Server.Exists {
		cause = "there is no TokenServer " + p.in.Server.Name
	}
	r.event(p.app, corev1.EventTypeWarning, eventClientRemembered, actionDelete, "%s; client %s is deleted when it is back", cause, p.app.Status.ClientID)
	return nil
}

// bury makes a tombstone of each client that the app may have on its token server,
// with what proves it.
func (r *Reconciler) bury(ctx context.Context, app *v1alpha1.ConnectedApp) error {
	remembered := tombstone.Client{
		TokenServer: app.TokenServerName(), ExternalID: externalID(r.ClusterID, app), ClientID: app.Status.ClientID,
		UniqueName: temporaryName(r.ClusterID, app),
	}
	owned, err := r.ownedBy(ctx, app)
	if err != nil {
		return err
	}
	isOwned := func(record ownership.Record) bool { return record.ClientID == app.Status.ClientID }
	remembered.Owned = slices.ContainsFunc(owned, isOwned)
	if err := r.Tombstones.Remember(ctx, app.UID, remembered); err != nil {
		return err
	}
	for _, record := range slices.DeleteFunc(owned, isOwned) {
		remembered.ClientID, remembered.Owned = record.ClientID, true
		if err := r.Tombstones.Remember(ctx, app.UID, remembered); err != nil {
			return err
		}
	}
	return nil
}

// letGo removes the finalizer. Nothing is left to do for the object.
func (r *Reconciler) letGo(ctx context.Context, p *pass) error {
	if err := r.disown(ctx, p); err != nil {
		return err
	}
	r.registered.forget(client.ObjectKeyFromObject(p.app))
	return object.WriteError("ConnectedApp "+p.app.Name, r.objects.RemoveFinalizer(ctx, p.app))
}

// registered are the apps that have a client, as this process knows them: an
// object whose finalizer somebody took away can go without a word, and one that
// was compared a moment ago need not be again. Losing it costs a few calls. Its
// zero value is empty.
type registered struct {
	mu   sync.Mutex
	apps map[types.NamespacedName]knownApp
	// doubts are the apps that somebody doubts.
	doubts map[types.NamespacedName]doubt
}

// knownApp is what is needed of an app once it is gone, and of its last
// comparison.
type knownApp struct {
	uid                   types.UID
	tokenServer, clientID string
	// stays: its client was to outlive it.
	stays bool
	// compared is when the app was last found, or made, as it should be; zero:
	// never by this process.
	compared time.Time
	// with is what was known of the server then: another may stand in its place
	// since.
	with *inventory.Inventory
}

// object is the app, as far as it is known.
func (k knownApp) object(key types.NamespacedName) *v1alpha1.ConnectedApp {
	app := &v1alpha1.ConnectedApp{}
	app.Namespace, app.Name, app.UID = key.Namespace, key.Name, k.uid
	app.Spec.TokenServerRef = &v1alpha1.TokenServerReference{Name: k.tokenServer}
	app.Status.ClientID = k.clientID
	return app
}

// compare notes that the client of an app that was noted was compared at a time,
// with what was known of the server.
func (d *registered) compare(app *v1alpha1.ConnectedApp, at time.Time, with *inventory.Inventory) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := client.ObjectKeyFromObject(app)
	if known, ok := d.apps[key]; ok && known.uid == app.UID {
		known.compared, known.with = at, with
		d.apps[key] = known
	}
}

// lastCompared is when that was; zero: not by this process, or with another
// server.
func (d *registered) lastCompared(app *v1alpha1.ConnectedApp, with *inventory.Inventory) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if known := d.apps[client.ObjectKeyFromObject(app)]; known.uid == app.UID && known.with == with {
		return known.compared
	}
	return time.Time{}
}

// note remembers an app, and when it was compared before. mayOutlive tells whether
// access rules let its client stay without it, should its deletionPolicy say so.
func (d *registered) note(app *v1alpha1.ConnectedApp, mayOutlive bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.apps == nil {
		d.apps = map[types.NamespacedName]knownApp{}
	}
	key, noted := client.ObjectKeyFromObject(app), knownApp{
		uid: app.UID, tokenServer: app.TokenServerName(), clientID: app.Status.ClientID,
		stays: mayOutlive && app.Spec.DeletionPolicy == v1alpha1.DeletionOrphan,
	}
	if before := d.apps[key]; before.uid == app.UID {
		noted.compared, noted.with = before.compared, before.with
	}
	d.apps[key] = noted
}

func (d *registered) forget(key types.NamespacedName) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.apps, key)
	delete(d.doubts, key)
}

// other returns the app of that name that had a client and another UID, or any
// when uid is empty; false: none.
func (d *registered) other(key types.NamespacedName, uid types.UID) (knownApp, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	app, ok := d.apps[key]
	return app, ok && app.uid != uid
}

// settleDeparted remembers the client of an app that went without its finalizer,
// or forgets it where that was to stay.
func (r *Reconciler) settleDeparted(ctx context.Context, key types.NamespacedName, present types.UID) (ctrl.Result, error) {
	app, ok := r.registered.other(key, present)
	if !ok {
		if present == "" {
			r.registered.forget(key) // somebody may have doubted it since
		}
		return ctrl.Result{}, nil
	}
	settle := r.bury
	if app.stays {
		settle = r.abandon
	}
	if err := settle(ctx, app.object(key)); err != nil {
		return ctrl.Result{}, fmt.Errorf("settling the client of an app that went without its finalizer: %w", err)
	}
	r.registered.forget(key)
	return ctrl.Result{}, nil
}
