// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/adoption"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/plan"
	"connectedapps.dev/operator/internal/registrar"
)

// keptOverlap is how long the secrets that a client had before it was adopted stay
// valid beside the one that is made for it: for as long as servers allow.
const keptOverlap = 365 * 24 * time.Hour

// observeAdoption looks at the client that the app, which has none, is to take
// over. The server is asked for it only when the app may have it.
func (r *Reconciler) observeAdoption(ctx context.Context, p *pass, live *plan.Live) error {
	id := p.app.Annotations[v1alpha1.AnnotationAdoptClientID]
	if id == "" || live.Client != nil || p.app.Status.ClientID != "" && !live.OwnedElsewhere || !p.app.DeletionTimestamp.IsZero() {
		return nil
	}
	wanted := &plan.Adoption{ID: id}
	p.in.Adoption = wanted
	if p.app.Suspended() {
		return nil
	}
	if plan.Presentable(p.in) {
		var err error
		if wanted.Proven, err = p.connection.Authenticates(ctx, id, p.existing); err != nil {
			return err
		}
	}
	if !plan.MayAdopt(p.in) {
		return nil
	}
	app, err := p.connection.App(ctx, id, 0)
	if registrar.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	wanted.Client = liveOf(app)
	if p.adoption, err = r.Adoptions.Of(ctx, p.in.Server.Name, p.connection.Issuer, id); err != nil {
		return err
	}
	p.adopted(wanted.Client, secretIDs(wanted.Client))
	if p.adoption.Owner == externalID(r.ClusterID, p.app) {
		p.adopted(wanted.Client, p.adoption.Kept)
		return nil
	}
	return r.observeOwners(ctx, p, wanted, app)
}

// adopted marks a client as one that was not made for the app.
func (p *pass) adopted(live *plan.LiveClient, kept []string) {
	live.Adopted, live.Kept = true, kept
}

func secretIDs(live *plan.LiveClient) []string {
	ids := make([]string, len(live.Secrets))
	for i, s := range live.Secrets {
		ids[i] = s.ID
	}
	return ids
}

// observeOwners finds out whose the client is: whom it was made for, and who
// adopted it.
func (r *Reconciler) observeOwners(ctx context.Context, p *pass, wanted *plan.Adoption, app *inventory.App) error {
	for _, owner := range []string{app.ExternalID, p.adoption.Owner} {
		if owner == "" {
			continue
		}
		isGone, err := r.isGone(ctx, owner)
		if err != nil {
			return err
		}
		wanted.Taken = wanted.Taken || !isGone
		wanted.Orphaned = wanted.Orphaned || isGone
	}
	// The one that the manager itself logs in with is nobody's to change.
	wanted.Taken = wanted.Taken || p.connection.Client.IsOwn(wanted.ID)
	if p.in.Server.ExternalID {
		return nil
	}
	// A server without marks leaves only what the other objects say.
	var others v1alpha1.ConnectedAppList
	if err := r.Client.List(ctx, &others, client.MatchingFields{indexTokenServer: p.in.Server.Name}, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("looking for another ConnectedApp with client %s: %w", wanted.ID, err)
	}
	for i := range others.Items {
		wanted.Taken = wanted.Taken || others.Items[i].Status.ClientID == wanted.ID && others.Items[i].UID != p.app.UID
	}
	return nil
}

// isGone tells whether an external id is that of an object of this cluster which
// is no more, and whose client nobody is about to delete.
func (r *Reconciler) isGone(ctx context.Context, owner string) (bool, error) {
	parsed, ok := adoption.ParseOwner(owner)
	if !ok || parsed.Cluster != r.ClusterID {
		return false, nil
	}
	app := &v1alpha1.ConnectedApp{}
	err := r.Live.Get(ctx, parsed.Key, app)
	switch {
	case apierrors.IsForbidden(err):
		return false, nil // a namespace that another manager serves
	case client.IgnoreNotFound(err) != nil:
		return false, fmt.Errorf("looking for ConnectedApp %s: %w", parsed.Key, err)
	case err == nil && app.UID == parsed.UID:
		return false, nil
	}
	waits, err := r.Tombstones.Remembers(ctx, parsed.UID)
	return !waits, err
}

// adopt remembers that the client is the app's, before anything is done to it.
func (r *Reconciler) adopt(ctx context.Context, p *pass, clientID string) error {
	live := p.in.Adoption.Client
	record := adoption.Record{
		TokenServer: p.in.Server.Name, Issuer: p.connection.Issuer, ClientID: clientID, Owner: externalID(r.ClusterID, p.app), Kept: live.Kept,
	}
	err := r.Adoptions.Claim(ctx, p.app.UID, p.adoption, record)
	if errors.Is(err, adoption.ErrTaken) {
		return &status.Error{Kind: status.Race, Reason: v1alpha1.ReasonOwnedElsewhere, Message: err.Error(), After: time.Second}
	}
	if err != nil {
		return err
	}
	p.in.Live.Client = live
	p.revision = live.Revision
	p.app.Status = plan.Unregistered(p.app.Status)
	p.app.Status.ClientID, p.app.Status.Issuer = clientID, p.connection.Issuer
	return nil
}

// findAdopted looks for a client that the app took over, and that its status does
// not tell of.
func (r *Reconciler) findAdopted(ctx context.Context, p *pass, live *plan.Live) error {
	records, err := r.Adoptions.By(ctx, p.app.UID)
	if err != nil {
		return err
	}
	for _, record := range records {
		if record.Owner != externalID(r.ClusterID, p.app) || record.TokenServer != p.in.Server.Name || live.Client != nil {
			continue
		}
		if err := r.readClient(ctx, p, live, record.ClientID, 0); err != nil {
			return err
		}
	}
	return nil
}

// hasAdopted tells whether the app took over the client that its status tells of.
func (r *Reconciler) hasAdopted(ctx context.Context, app *v1alpha1.ConnectedApp) (bool, error) {
	records, err := r.Adoptions.By(ctx, app.UID)
	for _, record := range records {
		if record.Owner == externalID(r.ClusterID, app) && record.ClientID == app.Status.ClientID {
			return true, nil
		}
	}
	return false, err
}

// forgetAdoptions comes before the object's end. Whoever is to have the client then
// finds it as it was before the app took it over.
func (r *Reconciler) forgetAdoptions(ctx context.Context, p *pass) error {
	records := []adoption.Record{p.adoption}
	// Where no client bears a mark, nobody asked whose an app's own is.
	if p.in.Live == nil || !p.in.Server.ExternalID && p.app.Spec.DeletionPolicy == v1alpha1.DeletionOrphan {
		var err error
		if records, err = r.Adoptions.By(ctx, p.app.UID); err != nil {
			return err
		}
	}
	for _, record := range records {
		if record.Owner != externalID(r.ClusterID, p.app) {
			continue
		}
		if err := r.Adoptions.Forget(ctx, record); err != nil {
			return err
		}
	}
	return nil
}
