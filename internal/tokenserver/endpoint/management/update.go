// SPDX-License-Identifier: Apache-2.0

package management

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/audit"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// update changes the members that the body names. Repeating what is stored
// changes nothing, the secret and the owner included.
func (e *Endpoint) update(ctx context.Context, c *call) error {
	q, err := c.query()
	if err != nil {
		return err
	}
	reset, err := flag(q, "resetSecret")
	if err != nil {
		return err
	}
	object, err := c.object()
	if err != nil {
		return err
	}
	body, err := readAppBody(object)
	if err != nil {
		return err
	}
	before, err := e.app(ctx, c)
	if err != nil {
		return err
	}
	secret, err := e.wantedSecret(c.now, &before, body, reset)
	if err != nil {
		return err
	}
	made := false
	app, err := e.Apps.UpdateApp(ctx, before.ClientID, c.now, func(app *storage.App) error {
		made = false
		if err := changeable(app, c.org); err != nil {
			return err
		}
		if err := e.patch(c, app, body); err != nil || secret.value == "" {
			return err
		}
		made, err = e.replaceSecrets(c, app, secret, reset)
		return err
	})
	if err != nil {
		return updated(err)
	}
	e.refresh(ctx, app.ClientID)
	e.recordUpdate(ctx, c, &before, &app, object, made)
	if made {
		httpx.JSON(c.w, http.StatusOK, secret.shownIn(&app))
		return nil
	}
	return e.show(c, &app)
}

// updated translates the errors of UpdateApp.
func updated(err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return noSuchApp
	}
	var p *httpx.Problem
	if errors.As(err, &p) {
		return err
	}
	return fmt.Errorf("updating the app: %w", err)
}

// patch applies all of the body but its secret.
func (e *Endpoint) patch(c *call, app *storage.App, body appBody) error {
	if id := body.clientID.value; id != "" && id != app.ClientID {
		return httpx.BadRequest("client_id: cannot be changed")
	}
	if body.externalID.set && body.externalID.value != app.ExternalID {
		return httpx.BadRequest("external_id: is set on creation only")
	}
	before := *app
	if id := body.ownerUserID.value; id != "" && id != app.OwnerUserID {
		heir, err := e.namedOwner(id, app.OrgID)
		if err != nil {
			return err
		}
		app.OwnerUserID, app.OwnerOrgID = heir.userID, heir.orgID
	}
	if err := body.apply(app); err != nil {
		return err
	}
	if err := c.caller.settle(&before, app); err != nil {
		return err
	}
	if err := checkApp(app); err != nil {
		return err
	}
	added := scopesOf(app)
	if actsForItself(&before) {
		added = withoutScopes(added, before.ContextScopes)
	}
	if before.SkipUserConsent {
		body.skipUserConsent.value = false // it is no news
	}
	if err := e.checkReferences(c, app, body, added); err != nil {
		return err
	}
	if hasSecret(&before) && !hasSecret(app) {
		retireSecrets(app, c.now)
	}
	return nil
}

// wantedSecret is the secret that the request asks for, by resetSecret or in
// its body; reset wins. The zero value: none.
func (e *Endpoint) wantedSecret(now time.Time, app *storage.App, body appBody, reset bool) (madeSecret, error) {
	chosen := body.clientSecret.value
	switch {
	case reset:
		return e.newSecret(now, app.ClientID)
	case chosen == "":
		return madeSecret{}, nil
	}
	return e.secret(now, app.ClientID, chosen)
}

// replaceSecrets makes secret the only one, and reports whether it had to. A
// secret that is accepted already changes nothing, since clients send back what
// they know; one that was retired is a client that missed a rotation, and
// bringing it back would undo that rotation.
func (e *Endpoint) replaceSecrets(c *call, app *storage.App, secret madeSecret, reset bool) (bool, error) {
	if !reset {
		known, found := e.findSecret(app, secret.value)
		if found && known.Live(c.now) {
			return false, nil
		}
		if found {
			return false, httpx.BadRequest("client_secret: this secret was retired by a rotation; read the current one or leave the member out")
		}
		if err := checkChosenSecret("client_secret", secret.value); err != nil {
			return false, err
		}
	}
	if !hasSecret(app) {
		return false, httpx.BadRequest("client_secret: an app with token_endpoint_auth_method %s has no secret", app.TokenEndpointAuthMethod)
	}
	if err := c.caller.settleSecret(app); err != nil {
		return false, err
	}
	retireSecrets(app, c.now)
	return true, addSecret(app, secret.record, c.now)
}

// recordUpdate audits what a PATCH did; one that changed nothing is no event.
func (e *Endpoint) recordUpdate(ctx context.Context, c *call, before, app *storage.App, object map[string]any, made bool) {
	if before.Revision == app.Revision {
		return
	}
	e.record(ctx, c, audit.AppEdited, app, slices.Sorted(maps.Keys(object)))
	if made {
		e.record(ctx, c, audit.SecretCreated, app, nil)
	}
	if !slices.Equal(scopesOf(before), scopesOf(app)) {
		e.record(ctx, c, audit.ScopesAssigned, app, nil)
	}
}

// delete removes the app. Its tokens end with it, even when it is restored
// under the same id later.
func (e *Endpoint) delete(ctx context.Context, c *call) error {
	app, err := e.app(ctx, c)
	if err != nil {
		return err
	}
	if err := changeable(&app, c.org); err != nil {
		return err
	}
	switch err := e.Ended.DeleteApp(ctx, app.ClientID); {
	case errors.Is(err, storage.ErrNotFound):
		return noSuchApp
	case err != nil:
		return err
	}
	e.refresh(ctx, app.ClientID)
	e.record(ctx, c, audit.AppDeleted, &app, nil)
	httpx.NoContent(c.w)
	return nil
}
