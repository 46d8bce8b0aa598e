// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"context"
	"errors"
	"slices"
	"time"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/ownership"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/plan"
)

// isOurs tells whether a client that bears no mark of the app is the app's: the
// manager remembers so. Where no client bears a mark, and the memory is lost, the
// credentials in the app's Secret prove it, and it is remembered again.
func (r *Reconciler) isOurs(ctx context.Context, p *pass, id string) (bool, error) {
	var err error
	if p.owner, err = r.Owners.Of(ctx, p.in.Server.Name, p.connection.Issuer, id); err != nil {
		return false, err
	}
	mine := externalID(r.ClusterID, p.app)
	switch {
	case p.owner.Owner == mine && p.owner.Issuer == p.connection.Issuer:
		return true, nil
	case p.owner.Owner == mine: // the server has moved
		moved := p.owner
		moved.Issuer = p.connection.Issuer
		p.claim = &moved
		return true, nil
	case p.owner.Owner != "" || p.in.Server.ExternalID:
		return false, nil
	}
	secret := p.existing
	if stored := p.stored(); stored != nil {
		secret = stored.value
	}
	if existing := p.in.Existing; secret == "" || existing != nil && existing.ClientID != "" && existing.ClientID != id {
		return false, nil
	}
	isOurs, err := p.connection.Authenticates(ctx, id, secret)
	if isOurs {
		made := r.made(p, id)
		p.claim = &made
	}
	return isOurs, err
}

// made is the memory of a client that was made for the app.
func (r *Reconciler) made(p *pass, id string) ownership.Record {
	return ownership.Record{
		TokenServer: p.in.Server.Name, Issuer: p.connection.Issuer, ClientID: id, Owner: externalID(r.ClusterID, p.app), Made: true,
	}
}

// settleOwner remembers whose the client is, before anything is done to it.
func (r *Reconciler) settleOwner(ctx context.Context, p *pass) error {
	if p.claim == nil || !p.app.DeletionTimestamp.IsZero() {
		return nil
	}
	return r.remembered(r.Owners.Claim(ctx, p.app.UID, p.owner, *p.claim))
}

// own remembers a client that was just made, in the place of one that is gone.
func (r *Reconciler) own(ctx context.Context, p *pass, id string) error {
	var before ownership.Record
	if former := p.result.Replaced; former != "" {
		var err error
		if before, err = r.Owners.Of(ctx, p.in.Server.Name, p.connection.Issuer, former); err != nil {
			return err
		}
		if before.Owner != externalID(r.ClusterID, p.app) {
			before = ownership.Record{}
		}
	}
	return r.remembered(r.Owners.Claim(ctx, p.app.UID, before, r.made(p, id)))
}

// remembered is the outcome of a claim. One that came too late looks again.
func (r *Reconciler) remembered(err error) error {
	if errors.Is(err, ownership.ErrTaken) {
		return &status.Error{Kind: status.Race, Reason: v1alpha1.ReasonOwnedElsewhere, Message: err.Error(), After: time.Second}
	}
	return err
}

// findRemembered looks for a client that is the app's, as the manager remembers,
// and that its status does not tell of.
func (r *Reconciler) findRemembered(ctx context.Context, p *pass, live *plan.Live) error {
	records, err := r.ownedBy(ctx, p.app)
	if err != nil {
		return err
	}
	for _, record := range records {
		if record.TokenServer != p.in.Server.Name || live.Client != nil {
			continue
		}
		if err := r.readClient(ctx, p, live, record.ClientID, 0); err != nil {
			return err
		}
	}
	return nil
}

// ownedBy is what the manager remembers to be the app's.
func (r *Reconciler) ownedBy(ctx context.Context, app *v1alpha1.ConnectedApp) ([]ownership.Record, error) {
	records, err := r.Owners.By(ctx, app.UID)
	return slices.DeleteFunc(records, func(record ownership.Record) bool {
		return record.Owner != externalID(r.ClusterID, app) || record.TokenServer != app.TokenServerName()
	}), err
}

// disown comes before the object's end. Whoever is to have the client then finds it
// as if the app had not been. One that is yet to be deleted stays the app's, or
// somebody could take it over before; its tombstone forgets it.
func (r *Reconciler) disown(ctx context.Context, p *pass) error {
	if slices.ContainsFunc(p.result.Actions, func(a plan.Action) bool { return a.Kind == plan.Remember }) {
		return nil
	}
	mayOwn := p.in.Live == nil || !p.in.Server.ExternalID || p.owner.Owner == externalID(r.ClusterID, p.app)
	if p.owned == nil && mayOwn {
		return r.abandon(ctx, p.app)
	}
	return r.forgetAll(ctx, p.owned)
}

// abandon forgets all that is the app's.
func (r *Reconciler) abandon(ctx context.Context, app *v1alpha1.ConnectedApp) error {
	records, err := r.ownedBy(ctx, app)
	if err != nil {
		return err
	}
	return r.forgetAll(ctx, records)
}

func (r *Reconciler) forgetAll(ctx context.Context, records []ownership.Record) error {
	for _, record := range records {
		if err := r.Owners.Forget(ctx, record); err != nil {
			return err
		}
	}
	return nil
}
