// SPDX-License-Identifier: Apache-2.0

package management

import (
	"context"
	"net/http"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/audit"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
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
	offset, limit, err := httpx.Page(q, defaultScopePage, maxScopePage)
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
	httpx.JSON(c.w, http.StatusOK, oauth.List[oauth.ContextScope]{Data: wireScopes(list[start:end]), Total: len(list)})
	return nil
}

// replaceScopes is PUT: exactly these.
func (e *Endpoint) replaceScopes(ctx context.Context, c *call) error {
	return e.changeScopes(ctx, c, scopeChange{
		purpose: `with all that the app is to have; {"scopes":[]} or {} takes all away`, emptyIsAll: true,
		combine: func(_, sent []storage.ContextScope) []storage.ContextScope { return sent },
	})
}

// addScopes is PATCH: these as well.
func (e *Endpoint) addScopes(ctx context.Context, c *call) error {
	return e.changeScopes(ctx, c, scopeChange{purpose: "with those to add", combine: unionScopes})
}

// removeScopes is DELETE with a body: not these.
func (e *Endpoint) removeScopes(ctx context.Context, c *call) error {
	return e.changeScopes(ctx, c, scopeChange{purpose: "with those to remove", combine: withoutScopes})
}

// scopeChange is what a method makes of the scopes of the body.
type scopeChange struct {
	// purpose says in a refusal what to send.
	purpose string
	// emptyIsAll takes {} for the empty list: so the community provider says that
	// all scopes are removed (contract section 3.4).
	emptyIsAll bool
	combine    func(current, sent []storage.ContextScope) []storage.ContextScope
}

// read takes a list that the body names, and nothing for one that it does not:
// what GET answered, or a body that got lost, must not take scopes away.
func (change scopeChange) read(body []byte) ([]storage.ContextScope, error) {
	object, err := parseObject(body)
	if err != nil {
		return nil, err
	}
	if err := foldedNames("scopes").refuse("the body", object); err != nil {
		return nil, err
	}
	switch list := object["scopes"]; {
	case list != nil:
		return readScopes("scopes", list)
	case change.emptyIsAll && len(object) == 0 && !absent(body):
		return nil, nil
	}
	return nil, httpx.BadRequest(`scopes: is required: send {"scopes":[…]} %s`, change.purpose)
}

func (e *Endpoint) changeScopes(ctx context.Context, c *call, change scopeChange) error {
	body, err := c.body()
	if err != nil {
		return err
	}
	sent, err := change.read(body)
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
		list := change.combine(current, sent)
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
	httpx.NoContent(c.w)
	return nil
}
