// SPDX-License-Identifier: Apache-2.0

package ended

import (
	"context"
	"fmt"
	"strings"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// skew is how much longer than a token lives its end is remembered: the clocks of
// replicas differ.
const skew = time.Minute

// EndToken ends one access token, which expires at expiresAt. Repeating it writes
// nothing.
func (l *Ledger) EndToken(ctx context.Context, id string, expiresAt time.Time) error {
	if l.hasEnded(storage.EndedAccessToken, id) {
		return nil
	}
	// It is kept without the text that it may be a part of.
	ended := storage.EndedToken{Kind: storage.EndedAccessToken, Key: strings.Clone(id), ExpiresAt: expiresAt.Add(skew)}
	if err := l.store.EndToken(ctx, ended); err != nil {
		return fmt.Errorf("ending a token: %w", err)
	}
	l.putTokens(ended)
	return nil
}

// EndFamily ends all that came of one authorization: its refresh family, if it
// has one, and its access tokens.
func (l *Ledger) EndFamily(ctx context.Context, grantID string) error {
	now := l.now()
	ended := storage.EndedToken{Kind: storage.EndedFamily, Key: grantID, ExpiresAt: now.Add(MaxTokenLife)}
	if err := l.store.RevokeFamily(ctx, grantID, now, ended.ExpiresAt); err != nil {
		return fmt.Errorf("ending an authorization: %w", err)
	}
	l.putTokens(ended)
	return nil
}

// EndConsent takes back what a user allowed an app, and ends whatever the app
// holds for the user, with or without a consent on record.
func (l *Ledger) EndConsent(ctx context.Context, userID, clientID string) error {
	epoch, err := l.store.RevokeConsent(ctx, userID, clientID, l.now())
	if err != nil {
		return fmt.Errorf("ending a consent: %w", err)
	}
	l.putEpochs(epoch)
	return nil
}

// EndUser ends all that apps hold for a user, and the user's sessions.
func (l *Ledger) EndUser(ctx context.Context, userID string) error {
	epoch, err := l.store.RaiseEpoch(ctx, storage.EpochUser, userID, l.now())
	if err != nil {
		return fmt.Errorf("ending what a user has: %w", err)
	}
	l.putEpochs(epoch)
	return nil
}

// DeleteApp deletes an app and ends all that it holds, also should it be restored
// under its id. FollowApp makes it known here, once the view has lost the app.
// storage.ErrNotFound when there is none.
func (l *Ledger) DeleteApp(ctx context.Context, clientID string) error {
	if _, err := l.store.DeleteApp(ctx, clientID, l.now()); err != nil {
		return fmt.Errorf("deleting an app: %w", err)
	}
	return nil
}

// FollowApp handles storage.ChangeApp, and follows this replica's own writes:
// refresh brings the view of the app up to date. The epoch is read before and
// counts after: nothing is issued at a new epoch to an app that the view still
// takes for enabled, and the view never has a restored app for long at the epoch
// of the former.
func (l *Ledger) FollowApp(ctx context.Context, clientID string, refresh func(ctx context.Context, clientID string) error) error {
	epoch, err := l.store.Epoch(ctx, storage.EpochApp, clientID)
	if err != nil {
		return fmt.Errorf("reading the epoch of an app: %w", err)
	}
	if err := refresh(ctx, clientID); err != nil {
		return err
	}
	l.putEpochs(epoch)
	return nil
}
