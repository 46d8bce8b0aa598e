// SPDX-License-Identifier: Apache-2.0

package management

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/audit"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/scopes"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

const (
	defaultPage  = 25
	maxAppPage   = 500
	maxScopePage = maxScopes + 1 // all of an app, profile included
)

// list answers one page of the organization's apps. Apps of the server's
// configuration are not listed.
func (e *Endpoint) list(ctx context.Context, c *call) error {
	q, err := c.query()
	if err != nil {
		return err
	}
	if org := q.Get("orgId"); org != "" && org != c.org {
		if c.r.PathValue("orgId") != "" {
			return httpx.BadRequest("query parameter orgId: contradicts the organization of the path")
		}
		c.org = org
		if err := e.admit(c, read); err != nil {
			return err
		}
	}
	if _, err := flag(q, "includeUsage"); err != nil {
		return err
	}
	query := storage.AppQuery{OrgID: c.org, Search: q.Get("search"), ExternalID: q.Get("external_id")}
	if query.Offset, query.Limit, err = httpx.Page(q, defaultPage, maxAppPage); err != nil {
		return err
	}
	apps, total, err := e.Apps.Apps(ctx, query)
	if err != nil {
		return fmt.Errorf("listing apps: %w", err)
	}
	reply := oauth.List[oauth.ConnectedApp]{Data: make([]oauth.ConnectedApp, len(apps)), Total: total}
	for i := range apps {
		reply.Data[i] = wireApp(&apps[i])
	}
	httpx.JSON(c.w, http.StatusOK, reply)
	return nil
}

// read answers one app, with its secret only for those who may change it and
// only when secrets are recoverable.
func (e *Endpoint) read(ctx context.Context, c *call) error {
	q, err := c.query()
	if err != nil {
		return err
	}
	if _, err := flag(q, "includeUsage"); err != nil {
		return err
	}
	app, err := e.app(ctx, c)
	if err != nil {
		return err
	}
	return e.show(c, &app)
}

func (e *Endpoint) show(c *call, app *storage.App) error {
	var secret madeSecret
	if app.Config == "" && c.caller.may(write, app.OrgID) && c.caller.mayRead(app) {
		var err error
		if secret, err = e.recovered(app, c.now); err != nil {
			return err
		}
	}
	httpx.JSON(c.w, http.StatusOK, secret.shownIn(app))
	return nil
}

// app reads the app of the path. One of another organization does not exist
// for this caller.
func (e *Endpoint) app(ctx context.Context, c *call) (storage.App, error) {
	id := c.r.PathValue("clientId")
	if checkLine("client_id", id, maxIdentifierBytes) != nil {
		return storage.App{}, noSuchApp
	}
	app, err := e.Apps.App(ctx, id)
	switch {
	case errors.Is(err, storage.ErrNotFound) || err == nil && app.OrgID != c.org:
		return storage.App{}, noSuchApp
	case err != nil:
		return storage.App{}, fmt.Errorf("reading the app: %w", err)
	}
	return app, nil
}

var noSuchApp = httpx.NotFound("no such connected app")

// changeable guards every write: the app must be of the organization and not
// of the server's configuration.
func changeable(app *storage.App, org string) error {
	if app.OrgID != org {
		return noSuchApp
	}
	if app.Config != "" {
		return httpx.Problemf(http.StatusConflict, "the app %s comes from the server's configuration; change it there", app.ClientID)
	}
	return nil
}

// refreshTimeout is for how long the answer to a write waits for that.
const refreshTimeout = 2 * time.Second

// refresh makes a local write visible to the next token request. When it fails
// the change feed does the same a moment later.
func (e *Endpoint) refresh(ctx context.Context, clientID string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTimeout)
	defer cancel()
	if err := e.Ended.FollowApp(ctx, clientID, e.View.Refresh); err != nil {
		e.Logger.WarnContext(ctx, "refreshing the view of an app", "client_id", clientID, "error", err)
	}
}

func (e *Endpoint) record(ctx context.Context, c *call, action audit.Action, app *storage.App, changed []string) {
	event := audit.Event{
		Action: action, ClientID: app.ClientID, ClientName: app.Name, OrgID: app.OrgID, GrantTypes: app.GrantTypes,
		SourceIP: audit.SourceIP(c.r), ActorSubject: c.caller.token.Subject, ActorClientID: c.caller.token.ClientID, Changed: changed,
	}
	if action == audit.ScopesAssigned {
		for _, s := range scopesOf(app) {
			event.Scopes = append(event.Scopes, s.Scope)
		}
	}
	e.Audit.Record(ctx, event)
}

// catalog answers every known scope as a bare array.
func (e *Endpoint) catalog(_ context.Context, c *call) error {
	reply := []oauth.CatalogScope{}
	for _, s := range scopes.Catalog() {
		entry := oauth.CatalogScope{Scope: s.Name, DisplayName: s.DisplayName, Description: s.Description, ProductLabel: s.ProductLabel}
		reply = append(reply, entry)
	}
	httpx.JSON(c.w, http.StatusOK, reply)
	return nil
}
