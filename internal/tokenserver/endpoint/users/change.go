// SPDX-License-Identifier: Apache-2.0

package users

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/audit"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/hierarchy"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/jsonobject"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/token"
)

// enough are the scopes that permit to see and switch users; each is enough.
var enough = []string{oauth.ScopeFull, oauth.ScopeManageConnApps}

// administers is the rule of a write of the management API: an administrator who
// is signed in as a user, or an app, that holds one of the scopes in that
// organization. Any other organization does not exist for the caller.
func administers(dir *directory.Directory, caller *token.AccessToken, org string) error {
	_, exists := dir.Organization(org)
	held := slices.ContainsFunc(enough, func(scope string) bool { return hierarchy.Holds(dir, caller, scope, org) })
	switch {
	case exists && held && isAdministrator(dir, caller):
		return nil
	case !exists || org != caller.OrgID:
		return httpx.NotFound("no such organization")
	}
	return httpx.InsufficientScope(enough, "the token lacks the permission: an administrator of the organization with one of the scopes %s is needed",
		strings.Join(enough, ", "))
}

// isAdministrator asks a user for the role; an app needs none.
func isAdministrator(dir *directory.Directory, caller *token.AccessToken) bool {
	if !caller.IsUser {
		return true
	}
	u, ok := dir.User(caller.Subject)
	return ok && u.Enabled && u.HasRole(directory.RoleOrganizationAdministrator)
}

// change switches an asserted user off or on. PUT and PATCH are the same: enabled
// is all there is to change.
func (e *Endpoint) change(c *call) (any, error) {
	enabled, err := enabledOf(c)
	if err != nil {
		return nil, err
	}
	if _, local := c.local(); local {
		return nil, httpx.Problemf(http.StatusConflict, "the user comes from the server's configuration; change it there (users[].enabled)")
	}
	before, err := e.record(c)
	if err != nil {
		return nil, err
	}
	after, err := e.switchUser(c.r.Context(), before.ID, enabled)
	if err != nil {
		return nil, err
	}
	if before.Disabled != after.Disabled {
		e.Audit.Record(c.r.Context(), audit.Event{
			Action: audit.UserEdited, UserID: after.ID, OrgID: after.OrgID, SourceIP: audit.SourceIP(c.r),
			ActorSubject: c.caller.Subject, ActorClientID: c.caller.ClientID, Changed: []string{"enabled"},
		})
	}
	return c.wire(after), nil
}

// switchUser switches a user. Switching off ends the tokens in the storage by
// itself, so that nothing comes back when it is switched on again; ending them
// here makes it known to this replica at once, also when the request repeats one
// that failed half-way.
func (e *Endpoint) switchUser(ctx context.Context, id string, enabled bool) (storage.User, error) {
	after, err := e.Store.SetUserDisabled(ctx, id, !enabled, e.Now())
	if errors.Is(err, storage.ErrNotFound) {
		return after, errNoSuchUser
	}
	if err != nil {
		return after, fmt.Errorf("changing the user: %w", err)
	}
	if !enabled {
		if err := e.EndUser(ctx, id); err != nil {
			return after, fmt.Errorf("ending the user's tokens: %w", err)
		}
	}
	return after, nil
}

// bodies are what a body may be at most.
const maxBody = 4 << 10

var bodies = jsonobject.Rules{Members: 8}

var errBody = httpx.BadRequest(`the body must be a JSON object with the member enabled, true or false, and no other`)

// enabledOf reads the body, which has one member, given once.
func enabledOf(c *call) (bool, error) {
	body, err := httpx.ReadBody(c.w, c.r, maxBody)
	if err != nil {
		failure := httpx.AsError(err)
		return false, httpx.Problemf(failure.Status, "%s", failure.Description)
	}
	return parseEnabled(body)
}

func parseEnabled(body []byte) (bool, error) {
	object, err := bodies.Read(body)
	enabled, ok := object["enabled"].(bool)
	if err != nil || !ok || len(object) != 1 {
		return false, errBody
	}
	return enabled, nil
}
