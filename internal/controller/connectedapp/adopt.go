// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/ownership"
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
	wanted.Client = plan.LiveOf(&app.ConnectedApp, app.ContextScopes, app.SecretList)
	if p.owner, err = r.Owners.Of(ctx, p.in.Server.Name, p.connection.Issuer, id); err != nil {
		return err
	}
	p.adopted(wanted.Client, secretIDs(wanted.Client))
	if p.owner.Owner == externalID(r.ClusterID, p.app) {
		p.adopted(wanted.Client, p.owner.Kept)
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

// observeOwners finds out whose the client is: whom it was made for, and who took
// it over.
func (r *Reconciler) observeOwners(ctx context.Context, p *pass, wanted *plan.Adoption, app *inventory.App) error {
	for _, owner := range []string{app.ExternalID, p.owner.Owner} {
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
	return nil
}

// isGone tells whether an external id is that of an object of this cluster which
// is no more, and whose client nobody is about to delete.
func (r *Reconciler) isGone(ctx context.Context, owner string) (bool, error) {
	parsed, ok := ownership.ParseOwner(owner)
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
	record := ownership.Record{
		TokenServer: p.in.Server.Name, Issuer: p.connection.Issuer, ClientID: clientID, Owner: externalID(r.ClusterID, p.app), Kept: live.Kept,
	}
	if err := r.remembered(r.Owners.Claim(ctx, p.app.UID, p.owner, record)); err != nil {
		return err
	}
	p.in.Live.Client = live
	p.revision = live.Revision
	p.app.Status = plan.Unregistered(p.app.Status)
	p.app.Status.ClientID, p.app.Status.Issuer = clientID, p.connection.Issuer
	return nil
}
