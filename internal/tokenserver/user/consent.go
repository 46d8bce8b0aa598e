// SPDX-License-Identifier: Apache-2.0

package user

import (
	"context"
	"errors"
	"net/url"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/ended"
	"connectedapps.dev/operator/internal/tokenserver/scopes"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// Consents is what users have allowed, per user, app and organization. Consent is
// to one security version of an app: what was allowed to another one counts for
// nothing (docs/privileges.md).
type Consents struct {
	Store storage.Consents
	Ended *ended.Ledger
	Now   func() time.Time
}

// Coverage tells whether a person needs to be asked.
type Coverage int

const (
	// Uncovered says that the person has to be asked.
	Uncovered Coverage = iota
	// OnRecord says that the person has allowed it.
	OnRecord
	// Skipped says that an administrator has allowed it; nothing is on record yet.
	Skipped
)

// Covers tells whether u has already allowed app all of asked. An app whose
// answers arrive on a device is always asked for: any program there could have
// sent the request.
// https://www.rfc-editor.org/rfc/rfc8252#section-8.6
func (c *Consents) Covers(ctx context.Context, u *directory.User, app *clients.App, redirectURI string, asked []string) (Coverage, error) {
	if OnDevice(app, redirectURI) {
		return Uncovered, nil
	}
	consent, err := c.Store.Consent(ctx, u.ID, app.ClientID, u.OrganizationID)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return Uncovered, err
	}
	current := err == nil && consent.SecurityVersion == app.SecurityVersion
	allowed := scopes.Set{}
	if current {
		allowed = scopes.SetOf(consent.Scopes)
	}
	covered := OnRecord
	for _, scope := range asked {
		switch {
		case allowed[scope]:
		case skips(app, u, scope):
			covered = Skipped
		default:
			return Uncovered, nil
		}
	}
	return covered, nil
}

// skips tells whether an administrator has allowed scope for u: of the app's own
// organization alone, never by an app that is open to others, and never what
// reaches far or outlives the person's presence.
func skips(app *clients.App, u *directory.User, scope string) bool {
	return app.SkipUserConsent && app.Audience != oauth.AudienceEveryone && app.OrgID == u.OrganizationID && !scopes.AlwaysAsked(scope)
}

// Allow adds scopes to what u has allowed app.
func (c *Consents) Allow(ctx context.Context, u *directory.User, app *clients.App, allowed []string) error {
	now := c.Now()
	_, err := c.Store.WidenConsent(ctx, storage.Consent{UserID: u.ID, ClientID: app.ClientID, OrgID: u.OrganizationID,
		Scopes: allowed, SecurityVersion: app.SecurityVersion, CreatedAt: now, UpdatedAt: now}, now)
	return err
}

// List returns what u has allowed.
func (c *Consents) List(ctx context.Context, u *directory.User) ([]storage.Consent, error) {
	return c.Store.UserConsents(ctx, u.ID)
}

// Revoke takes back what u has allowed the app, in whatever organization, and ends
// all that it holds for u, also when nothing is on record.
func (c *Consents) Revoke(ctx context.Context, u *directory.User, clientID string) error {
	return c.Ended.EndConsent(ctx, u.ID, clientID)
}

// OnDevice tells whether a public client receives its answer on the person's
// own device: on a loopback address or by a private scheme.
func OnDevice(app *clients.App, redirectURI string) bool {
	if app.TokenEndpointAuthMethod != oauth.AuthMethodNone {
		return false
	}
	u, err := url.Parse(redirectURI)
	return err != nil || u.Scheme != "https"
}
