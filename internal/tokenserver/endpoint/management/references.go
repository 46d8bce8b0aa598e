// SPDX-License-Identifier: Apache-2.0

package management

import (
	"slices"

	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/hierarchy"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// owner is the user an app belongs to.
type owner struct{ userID, orgID string }

// ownerOf decides who owns a new app: whom the body names, else the user who
// calls, else the owner of the app that calls, else the organization's owner.
func (e *Endpoint) ownerOf(c *call, body appBody) (owner, error) {
	if id := body.ownerUserID.value; id != "" {
		return e.namedOwner(id, c.org)
	}
	if c.caller.user != nil {
		return owner{c.caller.user.ID, c.caller.user.OrganizationID}, nil
	}
	if app, ok := e.View.App(c.caller.token.ClientID); ok && app.OrgID == c.org && app.OwnerUserID != "" {
		return owner{app.OwnerUserID, app.OwnerOrgID}, nil
	}
	org, ok := e.Directory.Load().Organization(c.org)
	if !ok {
		return owner{}, httpx.NotFound("no such organization")
	}
	return owner{org.OwnerID, org.ID}, nil
}

// namedOwner finds a user who may own an app of org.
func (e *Endpoint) namedOwner(id, org string) (owner, error) {
	user, ok := e.Directory.Load().User(id)
	if !ok || !user.Enabled || user.OrganizationID != org {
		return owner{}, httpx.BadRequest("owner_user_id: %s is no active user of this organization", shorten(id))
	}
	return owner{user.ID, user.OrganizationID}, nil
}

// checkReferences holds the rules about what is outside the app: the caller's
// rights, organizations, environments and identity providers. added are the
// scopes that the app did not have before.
func (e *Endpoint) checkReferences(c *call, app *storage.App, body appBody, added []storage.ContextScope) error {
	if body.skipUserConsent.value && !c.caller.sovereign() {
		return httpx.BadRequest("skip_user_consent: only an administrator who is signed in as a user may set it")
	}
	dir := e.Directory.Load()
	if body.identityProviders.set {
		if err := checkIdentityProviders(dir, app); err != nil {
			return err
		}
	}
	if body.federatedIdentities.set {
		if err := checkFederated(e.WorkloadIssuers, app); err != nil {
			return err
		}
	}
	return checkContexts(dir, c, app, added)
}

func checkIdentityProviders(dir *directory.Directory, app *storage.App) error {
	org, ok := dir.Organization(app.OrgID)
	for i, id := range app.IdentityProviders {
		known := ok && slices.ContainsFunc(org.IdentityProviders, func(p directory.IdentityProvider) bool { return p.ID == id })
		if !known {
			return httpx.BadRequest("%s: the organization has no identity provider %s", element("identity_providers", i), shorten(id))
		}
	}
	return nil
}

// checkContexts refuses contexts that mean nothing here, and scopes that the
// caller must not hand out.
func checkContexts(dir *directory.Directory, c *call, app *storage.App, added []storage.ContextScope) error {
	if !actsForItself(app) {
		return nil
	}
	for _, s := range added {
		id := contextOrg(s, app.OrgID)
		org, ok := dir.Organization(id)
		if !ok || !hierarchy.Within(dir, id, app.OrgID) && !c.caller.may(write, id) {
			return httpx.BadRequest("scopes: %s: no organization %s", s.Scope, shorten(id))
		}
		if s.EnvID != "" && !slices.ContainsFunc(org.Environments, func(env directory.Environment) bool { return env.ID == s.EnvID }) {
			return httpx.BadRequest("scopes: %s: organization %s has no environment %s", s.Scope, shorten(id), shorten(s.EnvID))
		}
		if err := c.caller.checkAssignment(s, id); err != nil {
			return err
		}
	}
	return nil
}
