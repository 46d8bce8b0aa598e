// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"net/http"
	"net/url"

	"connectedapps.dev/operator/internal/tokenserver/audit"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/endpoint/authorize"
	"connectedapps.dev/operator/internal/tokenserver/pages"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// authorizedApps lists what the person has allowed.
func (e *Endpoint) authorizedApps(w http.ResponseWriter, r *http.Request) {
	session, ok := e.required(w, r)
	if !ok {
		return
	}
	consents, err := e.Consents.List(r.Context(), session.User)
	if err != nil {
		e.fail(w, r, fmt.Errorf("listing consents: %w", err))
		return
	}
	dir := e.Directory.Load()
	view := pages.AuthorizedApps{Account: authorize.AccountView(dir, session.User), Revoked: r.URL.Query().Has("revoked"),
		FormToken: e.Forms.Token(w, r, session, account, "")}
	for _, consent := range consents {
		if app, ok := e.Apps.App(consent.ClientID); ok {
			view.Apps = append(view.Apps, authorizedApp(dir, app, consent))
		}
	}
	e.Pages.AuthorizedApps(w, view)
}

func authorizedApp(dir *directory.Directory, app *clients.App, consent storage.Consent) pages.AuthorizedApp {
	v := pages.AuthorizedApp{App: authorize.AppView(dir, app), ClientID: app.ClientID, Since: consent.CreatedAt, Disabled: !app.Enabled}
	for _, name := range consent.Scopes {
		v.Scopes = append(v.Scopes, authorize.ScopeView(name))
	}
	return v
}

// revoke takes back what the person has allowed one app.
func (e *Endpoint) revoke(w http.ResponseWriter, r *http.Request, form url.Values) {
	session, ok := e.required(w, r)
	if !ok {
		return
	}
	if !e.Forms.Valid(r, session, account, "", form.Get("form_token")) {
		e.problem(w, r, http.StatusBadRequest, "expired", "the form is too old or of another session")
		return
	}
	// What is no app holds nothing, and leaves nothing behind.
	if app, ok := e.Apps.App(form.Get("client_id")); ok {
		if err := e.Consents.Revoke(r.Context(), session.User, app.ClientID); err != nil {
			e.fail(w, r, fmt.Errorf("revoking consent: %w", err))
			return
		}
		e.Audit.Record(r.Context(), audit.Event{Action: audit.TokenRevoked, ClientID: app.ClientID, ClientName: app.Name, OrgID: app.OrgID,
			SourceIP: audit.SourceIP(r), ActorSubject: session.User.ID, Reason: "the user revoked the app's authorization"})
	}
	redirect(w, PathAuthorizedApps+"?revoked=1")
}
