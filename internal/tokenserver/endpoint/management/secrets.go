// SPDX-License-Identifier: Apache-2.0

package management

import (
	"context"
	"net/http"
	"slices"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/audit"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// maxOverlap is the longest time that earlier secrets may outlive a new one.
const maxOverlap = 365 * 24 * time.Hour

// listSecrets answers the secrets that are accepted now, without their values.
func (e *Endpoint) listSecrets(ctx context.Context, c *call) error {
	reply := oauth.SecretList{Data: []oauth.Secret{}}
	if e.CompleteUntil != nil {
		// Asked for before the app is read: a use that is written in between is in a
		// later answer, and must not count as known in this one.
		reply.CompleteUntil = e.CompleteUntil().UTC()
	}
	app, err := e.app(ctx, c)
	if err != nil {
		return err
	}
	for _, s := range app.Secrets {
		if s.Live(c.now) {
			reply.Data = append(reply.Data, wireSecret(s))
		}
	}
	reply.Total = len(reply.Data)
	httpx.JSON(c.w, http.StatusOK, reply)
	return nil
}

// addSecret makes one more secret and lets the earlier ones live on for the
// overlap at most.
func (e *Endpoint) addSecret(ctx context.Context, c *call) error {
	overlap, err := c.overlap()
	if err != nil {
		return err
	}
	before, err := e.app(ctx, c)
	if err != nil {
		return err
	}
	secret, err := e.newSecret(c.now, before.ClientID)
	if err != nil {
		return err
	}
	app, err := e.Apps.UpdateApp(ctx, before.ClientID, c.now, func(app *storage.App) error {
		if err := changeable(app, c.org); err != nil {
			return err
		}
		if !hasSecret(app) {
			return httpx.BadRequest("an app with token_endpoint_auth_method %s has no secret", app.TokenEndpointAuthMethod)
		}
		if err := c.caller.settleSecret(app); err != nil {
			return err
		}
		retireSecrets(app, c.now.Add(overlap))
		return addSecret(app, secret.record, c.now)
	})
	if err != nil {
		return updated(err)
	}
	e.refresh(ctx, app.ClientID)
	e.record(ctx, c, audit.SecretCreated, &app, nil)
	reply := wireSecret(secret.record)
	reply.ClientSecret, reply.ClientSecretID = secret.value, secret.record.ID
	httpx.JSON(c.w, http.StatusCreated, reply)
	return nil
}

// overlap reads {"overlap_seconds":n}. It has no default: zero ends every
// earlier secret at once, which nobody should get by leaving it out.
func (c *call) overlap() (time.Duration, error) {
	object, err := c.object()
	if err != nil {
		return 0, err
	}
	if err := foldedNames("overlap_seconds").refuse("the body", object); err != nil {
		return 0, err
	}
	v, ok := object["overlap_seconds"]
	if !ok {
		return 0, httpx.BadRequest("overlap_seconds: is required: how long the earlier secrets stay valid at most")
	}
	n, err := readInteger("overlap_seconds", v, 0, int64(maxOverlap/time.Second))
	return time.Duration(n) * time.Second, err
}

// deleteSecret ends one secret at once. It stays known as retired, so that a
// client that sends it back later is told of the rotation.
func (e *Endpoint) deleteSecret(ctx context.Context, c *call) error {
	before, err := e.app(ctx, c)
	if err != nil {
		return err
	}
	id := c.r.PathValue("secretId")
	app, err := e.Apps.UpdateApp(ctx, before.ClientID, c.now, func(app *storage.App) error {
		if err := changeable(app, c.org); err != nil {
			return err
		}
		i := slices.IndexFunc(app.Secrets, func(s storage.Secret) bool { return s.ID == id && s.Live(c.now) })
		if i < 0 {
			return httpx.NotFound("no such secret")
		}
		app.Secrets = slices.Clone(app.Secrets)
		app.Secrets[i].ExpiresAt = c.now
		app.SecretUpdatedAt = c.now
		return nil
	})
	if err != nil {
		return updated(err)
	}
	e.refresh(ctx, app.ClientID)
	e.record(ctx, c, audit.SecretDeleted, &app, nil)
	httpx.NoContent(c.w)
	return nil
}
