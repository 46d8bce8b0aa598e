// SPDX-License-Identifier: Apache-2.0

package management

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/audit"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/token"
)

// clientIDForm is what the id of an app of another server may be like. It is that
// of the configuration, but for a dot and the like in front: no path ends in "..".
var clientIDForm = regexp.MustCompile("^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$")

// create registers an app: 201, or 200 with an additional secret when the
// external id names an app already.
func (e *Endpoint) create(ctx context.Context, c *call) error {
	object, err := c.object()
	if err != nil {
		return err
	}
	body, err := readAppBody(object)
	if err != nil {
		return err
	}
	// An app that is deleted between the two steps is created after all; who
	// loses three times in a row meets somebody who does nothing else.
	for range 3 {
		done, err := e.createOnce(ctx, c, body)
		if done || err != nil {
			return err
		}
	}
	return httpx.Problemf(http.StatusConflict, "the app was created and deleted by others at the same time, try again")
}

// createOnce reports false when the app with this external id came or went in
// between.
func (e *Endpoint) createOnce(ctx context.Context, c *call, body appBody) (bool, error) {
	if body.externalID.value != "" {
		switch app, err := e.Apps.AppByExternalID(ctx, c.org, body.externalID.value); {
		case err == nil:
			return e.createAgain(ctx, c, app.ClientID)
		case !errors.Is(err, storage.ErrNotFound):
			return false, fmt.Errorf("looking up the external id: %w", err)
		}
	}
	app, secret, err := e.prepare(ctx, c, body)
	if err != nil {
		return false, err
	}
	app, err = e.Apps.CreateApp(ctx, app)
	switch {
	case errors.Is(err, storage.ErrAlreadyExists):
		return e.idTaken(ctx, c, body)
	case err != nil:
		return false, fmt.Errorf("creating the app: %w", err)
	}
	e.refresh(ctx, app.ClientID)
	e.record(ctx, c, audit.AppCreated, &app, nil)
	c.w.Header().Set("Location", oauth.PathOrganizations+"/"+app.OrgID+"/connectedApplications/"+app.ClientID)
	httpx.JSON(c.w, http.StatusCreated, secret.shownIn(&app))
	return true, nil
}

// idTaken tells a lost race for the external id from an id that is in use.
func (e *Endpoint) idTaken(ctx context.Context, c *call, body appBody) (bool, error) {
	if body.externalID.value != "" {
		switch _, err := e.Apps.AppByExternalID(ctx, c.org, body.externalID.value); {
		case err == nil:
			return false, nil
		case !errors.Is(err, storage.ErrNotFound):
			return false, fmt.Errorf("looking up the external id: %w", err)
		}
	}
	if restores(c, body) {
		return false, httpx.Problemf(http.StatusConflict, "client_id: %s is in use or belonged to another organization", body.clientID.value)
	}
	return false, nil
}

// createAgain answers a repeated creation: the same app and one more secret,
// so that a caller who lost the first answer loses nothing.
func (e *Endpoint) createAgain(ctx context.Context, c *call, clientID string) (bool, error) {
	secret, err := e.newSecret(c.now, clientID)
	if err != nil {
		return false, err
	}
	app, err := e.Apps.UpdateApp(ctx, clientID, c.now, func(app *storage.App) error {
		if err := changeable(app, c.org); err != nil || !hasSecret(app) {
			return err
		}
		if err := c.caller.settleSecret(app); err != nil {
			return err
		}
		return addSecret(app, secret.record, c.now)
	})
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, updated(err)
	}
	e.refresh(ctx, clientID)
	if !hasSecret(&app) {
		httpx.JSON(c.w, http.StatusOK, wireApp(&app))
		return true, nil
	}
	e.record(ctx, c, audit.SecretCreated, &app, nil)
	httpx.JSON(c.w, http.StatusOK, secret.shownIn(&app))
	return true, nil
}

// prepare makes the record of a new app and its first secret.
func (e *Endpoint) prepare(ctx context.Context, c *call, body appBody) (storage.App, madeSecret, error) {
	belongs, err := e.ownerOf(c, body)
	if err != nil {
		return storage.App{}, madeSecret{}, err
	}
	app := newApp(e.Credentials.NewClientID(), c.org, belongs, c.now)
	chosen := ""
	if restores(c, body) {
		if err := e.checkChosenID(ctx, body.clientID.value); err != nil {
			return app, madeSecret{}, err
		}
		if err := checkChosenSecret("client_secret", body.clientSecret.value); err != nil {
			return app, madeSecret{}, err
		}
		app.ClientID, chosen = body.clientID.value, body.clientSecret.value
	}
	app.ExternalID = body.externalID.value
	app.SecurityBy = c.caller.party()
	if err := body.create(&app); err != nil {
		return app, madeSecret{}, err
	}
	if err := checkApp(&app); err != nil {
		return app, madeSecret{}, err
	}
	if err := e.checkReferences(c, &app, body, scopesOf(&app)); err != nil {
		return app, madeSecret{}, err
	}
	if err := e.checkRoom(ctx, c.org, c.now); err != nil {
		return app, madeSecret{}, err
	}
	if !hasSecret(&app) {
		return app, madeSecret{}, nil
	}
	secret, err := e.secret(c.now, app.ClientID, chosen)
	if err != nil {
		return app, secret, err
	}
	return app, secret, addSecret(&app, secret.record, c.now)
}

// checkChosenID refuses an id that stands for something else in tokens: their sub is
// the id of a user or of an app.
func (e *Endpoint) checkChosenID(ctx context.Context, id string) error {
	if !clientIDForm.MatchString(id) {
		return httpx.BadRequest("client_id: must be 1 to 64 letters, digits, dots, hyphens or underscores, the first of them a letter or digit")
	}
	if token.IsReserved(id) {
		return httpx.Problemf(http.StatusConflict, "client_id: %s is a name of the server's own", id)
	}
	_, isUser := e.Directory.Load().User(id)
	if !isUser {
		_, err := e.Users.User(ctx, id)
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return fmt.Errorf("looking for a user: %w", err)
		}
		isUser = err == nil
	}
	if isUser {
		return httpx.Problemf(http.StatusConflict, "client_id: %s is in use or belonged to another organization", id)
	}
	return nil
}

// restores tells whether the caller may choose id and secret, to bring back an
// app under its former id. Everybody else gets new ones.
func restores(c *call, body appBody) bool {
	return body.clientID.value != "" && body.clientSecret.value != "" && c.caller.holds(oauth.ScopeManageConnApps, c.org)
}
