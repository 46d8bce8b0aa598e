// SPDX-License-Identifier: Apache-2.0

// Package configapps keeps the apps of the configuration in the database: the
// administrator's client and those listed under apps. Nobody else may change
// them, and one that leaves the configuration is deleted.
package configapps

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// Origins are what storage.App.Config holds of an app of the configuration.
const (
	OriginAdminClient = "bootstrap.adminClient"
	OriginApps        = "apps"
)

// ErrTaken says that the client id belongs to an app that somebody registered,
// or once belonged to another organization.
var ErrTaken = errors.New("the client id belongs to another app")

// App is an app as the configuration has it.
type App struct {
	// Record is the app without its secrets and times; its Config is the origin.
	Record storage.App
	// Secrets are the values that are accepted, and no others; empty for an app
	// that has none.
	Secrets []string
}

// Administrator is the administrator's client: it may manage the apps of org. It
// authenticates with a secret, as a workload, or either way.
func Administrator(org *directory.Organization, clientID string, secrets []string, workloads []storage.FederatedIdentity) App {
	method := oauth.AuthMethodSecretPost
	if len(secrets) == 0 {
		method = oauth.AuthMethodPrivateKeyJWT
	}
	return App{Secrets: secrets, Record: storage.App{
		ClientID: clientID, OrgID: org.ID, Name: "Administrator's client", Config: OriginAdminClient,
		GrantTypes:    []string{oauth.GrantClientCredentials},
		ContextScopes: []storage.ContextScope{{Scope: oauth.ScopeManageConnApps, Org: org.ID}},
		Audience:      oauth.AudienceInternal, Enabled: true, OwnerUserID: org.OwnerID, OwnerOrgID: org.ID,
		TokenEndpointAuthMethod: method, FederatedIdentities: workloads,
	}}
}

// Applier writes the apps. All fields are required.
type Applier struct {
	Apps storage.Apps
	// Hash hashes a client secret; token.SecretHasher has it.
	Hash func(secret string) []byte
	Now  func() time.Time
}

// Apply makes the database hold exactly these apps of the configuration, each
// with its secrets alone: any other secret ends at once. Apps of an earlier
// configuration are deleted. Repeating it writes nothing. The error names every
// app that could not be written; the others are.
func (a *Applier) Apply(ctx context.Context, apps []App) error {
	problems := []error{a.deleteOthers(ctx, apps)}
	for _, app := range apps {
		if err := a.put(ctx, app); err != nil {
			problems = append(problems, fmt.Errorf("writing the app %s of the configuration (%s): %w", app.Record.ClientID, app.Record.Config, err))
		}
	}
	return errors.Join(problems...)
}

func (a *Applier) put(ctx context.Context, app App) error {
	now := a.Now().UTC().Truncate(time.Microsecond)
	id := app.Record.ClientID
	update := func() error {
		_, err := a.Apps.UpdateApp(ctx, id, now, func(stored *storage.App) error { return a.change(stored, app, now) })
		return err
	}
	err := update()
	if errors.Is(err, storage.ErrNotFound) {
		_, err = a.Apps.CreateApp(ctx, a.created(app, now))
	}
	// Another replica may have been faster; then it wrote the same.
	if errors.Is(err, storage.ErrAlreadyExists) {
		err = update()
	}
	if errors.Is(err, storage.ErrNotFound) {
		err = ErrTaken
	}
	return err
}

func (a *Applier) created(app App, now time.Time) storage.App {
	record := app.Record
	// An app that left the configuration and comes back has a version of its own:
	// a page of the former one does not answer for it.
	record.CreatedAt, record.UpdatedAt, record.SecurityVersion = now, now, now.UnixMicro()
	a.setSecrets(&record, app.Secrets, now)
	return record
}

// change makes stored what the configuration says.
func (a *Applier) change(stored *storage.App, app App, now time.Time) error {
	if stored.Config == "" || stored.OrgID != app.Record.OrgID {
		return ErrTaken
	}
	before := *stored
	copySettings(stored, &app.Record)
	// What went on record under skip_user_consent was nobody's own consent.
	if clients.SecurityChanged(&before, stored) || before.SkipUserConsent && !stored.SkipUserConsent {
		stored.SecurityVersion++
	}
	a.setSecrets(stored, app.Secrets, now)
	return nil
}

// copySettings leaves alone what the server itself keeps of an app: identity,
// secrets, times, revisions.
func copySettings(to, from *storage.App) {
	to.Name, to.Config, to.Enabled, to.Audience = from.Name, from.Config, from.Enabled, from.Audience
	to.GrantTypes, to.RedirectURIs, to.PostLogoutRedirectURIs = from.GrantTypes, from.RedirectURIs, from.PostLogoutRedirectURIs
	to.Scopes, to.ContextScopes, to.PublicKeys = from.Scopes, from.ContextScopes, from.PublicKeys
	to.FederatedIdentities = from.FederatedIdentities
	to.ClientURI, to.PolicyURI, to.TOSURI = from.ClientURI, from.PolicyURI, from.TOSURI
	to.OwnerUserID, to.OwnerOrgID = from.OwnerUserID, from.OwnerOrgID
	to.GenerateISSClaimWithoutToken, to.IDProviderID = from.GenerateISSClaimWithoutToken, from.IDProviderID
	to.TokenEndpointAuthMethod, to.AccessTokenFormat = from.TokenEndpointAuthMethod, from.AccessTokenFormat
	to.IdentityProviders, to.SkipUserConsent = from.IdentityProviders, from.SkipUserConsent
	to.IDTokenAlg, to.AccessTokenAlg = from.IDTokenAlg, from.AccessTokenAlg
	to.RefreshGrace, to.AssertionsWithoutExpiry = from.RefreshGrace, from.AssertionsWithoutExpiry
}

// setSecrets ends the live secrets that are not wanted and adds the wanted ones
// that are not live. A file that was set back brings its secret back too, so an
// earlier record of it goes.
func (a *Applier) setSecrets(app *storage.App, wanted []string, now time.Time) {
	hashes := make([][]byte, len(wanted))
	for i, secret := range wanted {
		hashes[i] = a.Hash(secret)
	}
	has := func(list []storage.Secret, hash []byte) bool {
		return slices.ContainsFunc(list, func(s storage.Secret) bool { return bytes.Equal(s.Hash, hash) })
	}
	isWanted := func(s storage.Secret) bool {
		return slices.ContainsFunc(hashes, func(hash []byte) bool { return bytes.Equal(s.Hash, hash) })
	}
	secrets := slices.DeleteFunc(slices.Clone(app.Secrets), func(s storage.Secret) bool { return !s.Live(now) && isWanted(s) })
	for i, s := range secrets {
		if s.Live(now) && !isWanted(s) {
			secrets[i].ExpiresAt, app.SecretUpdatedAt = now, now
		}
	}
	for _, hash := range hashes {
		if !has(secrets, hash) {
			secrets = append(secrets, storage.Secret{ID: uuid.NewString(), Hash: hash, CreatedAt: now})
			app.SecretUpdatedAt = now
		}
	}
	app.Secrets = secrets
}

func (a *Applier) deleteOthers(ctx context.Context, apps []App) error {
	stored, err := a.Apps.ConfiguredApps(ctx)
	if err != nil {
		return fmt.Errorf("looking for apps of an earlier configuration: %w", err)
	}
	for _, id := range stored {
		if slices.ContainsFunc(apps, func(app App) bool { return app.Record.ClientID == id }) {
			continue
		}
		if _, err := a.Apps.DeleteApp(ctx, id, a.Now()); err != nil && !errors.Is(err, storage.ErrNotFound) {
			return fmt.Errorf("deleting the app %s of an earlier configuration: %w", id, err)
		}
	}
	return nil
}
