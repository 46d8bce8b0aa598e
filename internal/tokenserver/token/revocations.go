// SPDX-License-Identifier: Apache-2.0

package token

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// Revocations holds the revocations that still matter in memory.
type Revocations struct {
	store  storage.Revocations
	now    func() time.Time
	active atomic.Pointer[map[revoked]storage.Revocation]
}

type revoked struct {
	kind storage.RevocationKind
	key  string
}

// NewRevocations makes an empty view; Load fills it.
func NewRevocations(store storage.Revocations, now func() time.Time) *Revocations {
	r := &Revocations{store: store, now: now}
	r.active.Store(&map[revoked]storage.Revocation{})
	return r
}

// Load reads the active revocations again.
func (r *Revocations) Load(ctx context.Context) error {
	records, err := r.store.ActiveRevocations(ctx, r.now())
	if err != nil {
		return fmt.Errorf("reading revocations: %w", err)
	}
	active := make(map[revoked]storage.Revocation, len(records))
	for _, record := range records {
		active[revoked{record.Kind, record.Key}] = record
	}
	r.active.Store(&active)
	return nil
}

// Revoke stores a revocation and lets it bite on this replica at once.
func (r *Revocations) Revoke(ctx context.Context, revocation storage.Revocation) error {
	if err := r.store.Revoke(ctx, revocation, r.now()); err != nil {
		return fmt.Errorf("storing a revocation: %w", err)
	}
	return r.Load(ctx)
}

// Ends tells whether the token has been revoked.
func (r *Revocations) Ends(t *AccessToken) bool {
	active := *r.active.Load()
	for _, key := range [...]revoked{
		{storage.RevokeToken, t.ID},
		{storage.RevokeFamily, t.GrantID},
		{storage.RevokeUser, t.Subject},
		{storage.RevokeApp, t.ClientID},
		{storage.RevokeConsent, t.Subject + " " + t.ClientID},
	} {
		record, ok := active[key]
		// iat counts whole seconds: a token of the same second counts as earlier.
		if ok && (record.NotBefore.IsZero() || !t.IssuedAt.After(record.NotBefore)) {
			return true
		}
	}
	return false
}
