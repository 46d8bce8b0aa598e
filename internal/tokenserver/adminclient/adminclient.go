// SPDX-License-Identifier: Apache-2.0

// Package adminclient keeps the administrator's client of the configuration in
// the database: the client that registers all others.
package adminclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// ConfigName is storage.App.Config of the administrator's client.
const ConfigName = "bootstrap.adminClient"

// ErrTaken says that the client id belongs to an app that somebody registered,
// or once belonged to another organization.
var ErrTaken = errors.New("the client id belongs to another app")

// Client is the administrator's client as the configuration has it.
type Client struct{ ClientID, Secret string }

// Applier writes the client. All fields are required.
type Applier struct {
	Apps storage.Apps
	// Hash hashes a client secret; token.SecretHasher has it.
	Hash func(secret string) []byte
	Now  func() time.Time
}

// Apply makes the database hold the client, in the first organization of d and
// with this secret alone: another one ends at once. An administrator's client
// with another id, of an earlier configuration, is deleted; a nil client only
// deletes. Repeating it writes nothing.
func (a *Applier) Apply(ctx context.Context, d *directory.Directory, client *Client) error {
	if err := a.deleteOthers(ctx, client); err != nil || client == nil {
		return err
	}
	now := a.Now().UTC().Truncate(time.Microsecond)
	want := a.app(d.Organizations()[0], client, now)
	_, err := a.Apps.UpdateApp(ctx, client.ClientID, now, func(app *storage.App) error { return a.change(app, want, now) })
	if errors.Is(err, storage.ErrNotFound) {
		_, err = a.Apps.CreateApp(ctx, want)
	}
	// Another replica may have been faster; then it wrote the same.
	if errors.Is(err, storage.ErrAlreadyExists) {
		_, err = a.Apps.UpdateApp(ctx, client.ClientID, now, func(app *storage.App) error { return a.change(app, want, now) })
	}
	if errors.Is(err, storage.ErrNotFound) {
		err = ErrTaken
	}
	if err != nil {
		return fmt.Errorf("writing the administrator's client %s: %w", client.ClientID, err)
	}
	return nil
}

func (a *Applier) app(org *directory.Organization, client *Client, now time.Time) storage.App {
	return storage.App{
		ClientID: client.ClientID, OrgID: org.ID, Name: "Administrator's client", Config: ConfigName,
		GrantTypes:    []string{oauth.GrantClientCredentials},
		ContextScopes: []storage.ContextScope{{Scope: oauth.ScopeManageConnApps, Org: org.ID}},
		Audience:      oauth.AudienceInternal, Enabled: true, OwnerUserID: org.OwnerID, OwnerOrgID: org.ID,
		TokenEndpointAuthMethod: oauth.AuthMethodSecretPost,
		Secrets:                 []storage.Secret{{ID: uuid.NewString(), Hash: a.Hash(client.Secret), CreatedAt: now}},
		CreatedAt:               now, UpdatedAt: now, SecretUpdatedAt: now,
	}
}

// change makes app what is wanted, keeping its secret when it is the same.
func (a *Applier) change(app *storage.App, want storage.App, now time.Time) error {
	if app.Config != ConfigName || app.OrgID != want.OrgID {
		return ErrTaken
	}
	secret := want.Secrets[0]
	want.CreatedAt, want.UpdatedAt = app.CreatedAt, app.UpdatedAt
	want.Revision, want.SecretUpdatedAt = app.Revision, app.SecretUpdatedAt
	want.Secrets = app.Secrets
	if live := liveSecrets(app.Secrets, now); len(live) != 1 || !bytes.Equal(live[0].Hash, secret.Hash) {
		want.Secrets, want.SecretUpdatedAt = replaced(app.Secrets, secret, now), now
	}
	*app = want
	return nil
}

func liveSecrets(secrets []storage.Secret, now time.Time) []storage.Secret {
	return slices.DeleteFunc(slices.Clone(secrets), func(s storage.Secret) bool { return !s.Live(now) })
}

// replaced ends the live secrets and adds the new one. A file that was set back
// brings its secret back too, so an earlier record of it goes.
func replaced(secrets []storage.Secret, secret storage.Secret, now time.Time) []storage.Secret {
	kept := slices.DeleteFunc(slices.Clone(secrets), func(s storage.Secret) bool { return bytes.Equal(s.Hash, secret.Hash) })
	for i := range kept {
		if kept[i].Live(now) {
			kept[i].ExpiresAt = now
		}
	}
	return append(kept, secret)
}

func (a *Applier) deleteOthers(ctx context.Context, client *Client) error {
	var others []string
	err := a.Apps.AllApps(ctx, func(app storage.App) error {
		if app.Config == ConfigName && (client == nil || app.ClientID != client.ClientID) {
			others = append(others, app.ClientID)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("looking for earlier administrator's clients: %w", err)
	}
	for _, id := range others {
		if _, err := a.Apps.DeleteApp(ctx, id, a.Now()); err != nil && !errors.Is(err, storage.ErrNotFound) {
			return fmt.Errorf("deleting the earlier administrator's client %s: %w", id, err)
		}
	}
	return nil
}
