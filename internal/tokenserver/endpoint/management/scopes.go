// SPDX-License-Identifier: Apache-2.0

package management

import (
	"context"
	"net/http"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/audit"
	"connectedapps.dev/operator/internal/tokenserver/endpoint/answer"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// defaultScopePage is large: who forgets to page must not miss a scope.
const defaultScopePage = 500

// listScopes answers one page of the app's scopes.
func (e *Endpoint) listScopes(ctx context.Context, c *call) error {
	q, err := c.query()
	if err != nil {
		return err
	}
	offset, limit, err := page(q, defaultScopePage, maxScopePage)
	if err != nil {
		return err
	}
	app, err := e.app(ctx, c)
	if err != nil {
		return err
	}
	list := listedScopes(&app)
	start := min(offset, len(list))
	end := min(start+limit, len(list))
	answer.JSON(c.w, http.StatusOK, oauth.List[oauth.ContextScope]{Data: wireScopes(list[start:end]), Total: len(list)})
	return nil
}

// replaceScopes is PUT: exactly these.
func (e *Endpoint) replaceScopes(ctx context.Context, c *call) error {
	return e.changeScopes(ctx, c, func(_, sent []storage.ContextScope) []storage.ContextScope { return sent })
}

// addScopes is PATCH: these as well.
func (e *Endpoint) addScopes(ctx context.Context, c *call) error {
	return e.changeScopes(ctx, c, unionScopes)
}

// removeScopes is DELETE with a body: not these.
func (e *Endpoint) removeScopes(ctx context.Context, c *call) error {
	return e.changeScopes(ctx, c, withoutScopes)
}

func (e *Endpoint) changeScopes(
	ctx context.Context, c *call, combine func(current, sent []storage.ContextScope) []storage.ContextScope,
) error {
	object, err := c.object()
	if err != nil {
		return err
	}
	if err := foldedNames("scopes").refuse("the body", object); err != nil {
		return err
	}
	sent, err := readScopes("scopes", object["scopes"])
	if err != nil {
		return err
	}
	before, err := e.app(ctx, c)
	if err != nil {
		return err
	}
	app, err := e.Apps.UpdateApp(ctx, before.ClientID, c.now, func(app *storage.App) error {
		if err := changeable(app, c.org); err != nil {
			return err
		}
		was, current := *app, scopesOf(app)
		list := combine(current, sent)
		if err := checkPlain(app, "scopes", list); err != nil {
			return err
		}
		assignScopes(app, list)
		if err := c.caller.settle(&was, app); err != nil {
			return err
		}
		if err := checkApp(app); err != nil {
			return err
		}
		return checkContexts(e.Directory.Load(), c, app, withoutScopes(list, current))
	})
	if err != nil {
		return updated(err)
	}
	e.refresh(ctx, app.ClientID)
	if before.Revision != app.Revision {
		e.record(ctx, c, audit.ScopesAssigned, &app, nil)
	}
	answer.NoContent(c.w)
	return nil
}
