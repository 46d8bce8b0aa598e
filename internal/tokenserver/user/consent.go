// SPDX-License-Identifier: Apache-2.0

package user

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// Consents is what users have allowed, per user, app and organization.
type Consents struct {
	Store storage.Consents
	Now   func() time.Time
	// TokenLifetime is the longest life of an access token: how long a
	// revocation must be remembered.
	TokenLifetime time.Duration
	// Revoked is called once a consent has been revoked; nil: nobody.
	Revoked func(ctx context.Context) error
}

// Covers tells whether u has already allowed app all of scopes, so that nobody
// needs to be asked. An app whose answers arrive on a device is always asked
// for: any program there could have sent the request.
// https://www.rfc-editor.org/rfc/rfc8252#section-8.6
func (c *Consents) Covers(ctx context.Context, u *directory.User, app *storage.App, redirectURI string, scopes []string) (bool, error) {
	if OnDevice(app, redirectURI) {
		return false, nil
	}
	if app.SkipUserConsent {
		return true, nil
	}
	consent, err := c.Store.Consent(ctx, u.ID, app.ClientID, u.OrganizationID)
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	for _, scope := range scopes {
		if !slices.Contains(consent.Scopes, scope) {
			return false, err
		}
	}
	return err == nil, err
}

// Allow adds scopes to what u has allowed app.
func (c *Consents) Allow(ctx context.Context, u *directory.User, clientID string, scopes []string) error {
	now := c.Now()
	_, err := c.Store.WidenConsent(ctx, storage.Consent{UserID: u.ID, ClientID: clientID, OrgID: u.OrganizationID,
		Scopes: scopes, CreatedAt: now, UpdatedAt: now}, now)
	return err
}

// List returns what u has allowed.
func (c *Consents) List(ctx context.Context, u *directory.User) ([]storage.Consent, error) {
	return c.Store.UserConsents(ctx, u.ID)
}

// Revoke takes back what u has allowed the app, and ends its tokens. Nothing to
// take back is no error.
func (c *Consents) Revoke(ctx context.Context, u *directory.User, clientID string) error {
	now := c.Now()
	err := c.Store.RevokeConsent(ctx, u.ID, clientID, u.OrganizationID, now, now.Add(c.TokenLifetime))
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err == nil && c.Revoked != nil {
		err = c.Revoked(ctx)
	}
	return err
}

// OnDevice tells whether a public client receives its answer on the person's
// own device: on a loopback address or by a private scheme.
func OnDevice(app *storage.App, redirectURI string) bool {
	if app.TokenEndpointAuthMethod != oauth.AuthMethodNone {
		return false
	}
	u, err := url.Parse(redirectURI)
	return err != nil || u.Scheme != "https"
}
