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

// withSecret does to a Secret of ours what the plan says; one that is gone, or
// somebody else's, is no error.
func (r *Reconciler) withSecret(ctx context.Context, p *pass, action plan.Action) error {
	names := []string{action.ID}
	if action.ID == "" {
		names = []string{p.in.Secret.Name}
		if former := p.app.Status.Binding; former != nil && former.Name != p.in.Secret.Name {
			names = append(names, former.Name)
		}
	}
	for _, name := range names {
		secret, err := r.secrets().GetLive(ctx, p.app, name)
		if errors.Is(err, apply.ErrNotOurs) || err == nil && secret == nil {
			continue
		}
		if err != nil {
			return err
		}
		do := r.secrets().Delete
		if action.Kind == plan.ReleaseSecret {
			do = r.secrets().Release
		}
		if err := do(ctx, p.app, secret); err != nil {
			return object.WriteError("secret "+name, err)
		}
	}
	return nil
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
	// compared is when the app was last found, or made, as it should be.
	compared map[types.NamespacedName]comparison
	// doubts are the apps that somebody doubts.
	doubts map[types.NamespacedName]doubt
}

// knownApp is what is needed of an app once it is gone.
type knownApp struct {
	uid                   types.UID
	tokenServer, clientID string
	// stays: its client was to outlive it.
	stays bool
}

// object is the app, as far as it is known.
func (k knownApp) object(key types.NamespacedName) *v1alpha1.ConnectedApp {
	app := &v1alpha1.ConnectedApp{}
	app.Namespace, app.Name, app.UID = key.Namespace, key.Name, k.uid
	app.Spec.TokenServerRef = &v1alpha1.TokenServerReference{Name: k.tokenServer}
	app.Status.ClientID = k.clientID
	return app
}

type comparison struct {
	uid types.UID
	at  time.Time
	// with is what was known of the server: another may stand in its place since.
	with *inventory.Inventory
}

// compare notes that the client was compared at a time, with what was known of
// the server.
func (d *registered) compare(app *v1alpha1.ConnectedApp, at time.Time, with *inventory.Inventory) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.compared == nil {
		d.compared = map[types.NamespacedName]comparison{}
	}
	d.compared[client.ObjectKeyFromObject(app)] = comparison{app.UID, at, with}
}

// lastCompared is when that was; zero: not by this process, or with another
// server.
func (d *registered) lastCompared(app *v1alpha1.ConnectedApp, with *inventory.Inventory) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.compared[client.ObjectKeyFromObject(app)]; c.uid == app.UID && c.with == with {
		return c.at
	}
	return time.Time{}
}

// note remembers an app. mayOutlive tells whether access rules let its client stay
// without it, should its deletionPolicy say so.
func (d *registered) note(app *v1alpha1.ConnectedApp, mayOutlive bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.apps == nil {
		d.apps = map[types.NamespacedName]knownApp{}
	}
	d.apps[client.ObjectKeyFromObject(app)] = knownApp{
		uid: app.UID, tokenServer: app.TokenServerName(), clientID: app.Status.ClientID,
		stays: mayOutlive && app.Spec.DeletionPolicy == v1alpha1.DeletionOrphan,
	}
}

func (d *registered) forget(key types.NamespacedName) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.apps, key)
	delete(d.compared, key)
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
