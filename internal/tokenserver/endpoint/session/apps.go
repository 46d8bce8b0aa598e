// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"connectedapps.dev/operator/internal/tokenserver/audit"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/pages"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/user"
	"connectedapps.dev/operator/internal/tokenserver/views"
)

// authorizedApps lists what the person has allowed.
func (e *Endpoint) authorizedApps(w http.ResponseWriter, r *http.Request) {
	if session, ok := e.required(w, r); ok {
		e.writeAuthorizedApps(w, r, session, "")
	}
}

// writeAuthorizedApps writes the list with a notice above it.
func (e *Endpoint) writeAuthorizedApps(w http.ResponseWriter, r *http.Request, session *user.Session, notice string) {
	consents, err := e.Consents.List(r.Context(), session.User)
	if err != nil {
		e.fail(w, r, fmt.Errorf("listing consents: %w", err))
		return
	}
	dir, text := e.Directory.Load(), e.Pages.Text()
	view := pages.AuthorizedApps{Account: views.Account(dir, session.User), Notice: notice,
		FormToken: e.Forms.Token(w, r, session, account, "")}
	revoked := r.URL.Query().Get("revoked")
	for _, consent := range consents {
		if app, ok := e.Apps.App(consent.ClientID); ok {
			shown := authorizedApp(text, dir, app, consent)
			shown.Disabled = e.Apps.Standing(app) != nil
			view.Apps = append(view.Apps, shown)
		}
		if consent.ClientID == revoked {
			revoked = "" // a link from elsewhere must not say what is not so
		}
	}
	if app, ok := e.Apps.App(revoked); ok {
		view.Revoked = app.Name
	}
	e.Pages.AuthorizedApps(w, view)
}

func authorizedApp(text pages.Text, dir *directory.Directory, app *clients.App, consent storage.Consent) pages.AuthorizedApp {
	v := pages.AuthorizedApp{App: views.App(dir, app), ClientID: app.ClientID, Since: consent.CreatedAt}
	for _, name := range consent.Scopes {
		v.Scopes = append(v.Scopes, views.Scope(text, name))
	}
	return v
}

// revoke takes back what the person has allowed one app.
func (e *Endpoint) revoke(w http.ResponseWriter, r *http.Request, form url.Values) {
	session, ok := e.required(w, r)
	if !ok {
		return
	}
	if err := e.Forms.Check(r, session, account, "", form.Get("form_token")); err != nil {
		notice := "apps.stale"
		if errors.Is(err, user.ErrFormExpired) {
			notice = "apps.expired"
		}
		e.writeAuthorizedApps(w, r, session, e.Pages.Text().Get(notice))
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
	redirect(w, pages.PathAuthorizedApps+"?"+url.Values{"revoked": {form.Get("client_id")}}.Encode())
}
