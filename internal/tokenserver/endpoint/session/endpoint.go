// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/audit"
	"connectedapps.dev/operator/internal/tokenserver/authrequest"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/pages"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// PathLogin is the platform's address of its own sign-in page.
const PathLogin = "/accounts/login"

// forms are what the forms of these pages may be at most.
var forms = httpx.FormLimits{Bytes: httpx.MaxParameterBytes, Parameters: httpx.MaxParameters}

// account is the purpose of the forms that concern the session as a whole.
const account = "account"

// Endpoint serves the pages of a session.
type Endpoint struct {
	Requests      *authrequest.Requests
	Apps          authrequest.Apps
	Directory     *directory.Live
	Authenticator *user.Authenticator
	Sessions      *user.Sessions
	Forms         *user.Forms
	Consents      *user.Consents
	// Hint verifies an id token of ours, expired or not.
	Hint func(raw string) (authrequest.IDTokenHint, error)
	// Source is the client's address where trusted proxies tell it; nil: never.
	Source func(r *http.Request) netip.Addr
	Pages  *pages.Renderer
	Audit  *audit.Log
	Logger *slog.Logger
}

// Mount adds the endpoint's paths to mux.
func (e *Endpoint) Mount(mux httpx.Router) {
	mux.HandleFunc("GET "+pages.PathSignIn, e.showSignIn)
	mux.HandleFunc("GET "+PathLogin, func(w http.ResponseWriter, _ *http.Request) { redirect(w, pages.PathSignIn) })
	mux.HandleFunc("POST "+pages.PathSignIn, e.form(e.signIn))
	mux.HandleFunc("GET "+pages.PathAuthorizedApps, e.authorizedApps)
	mux.HandleFunc("POST "+pages.PathRevoke, e.form(e.revoke))
	mux.HandleFunc("GET "+pages.PathSignOut, e.showSignOut)
	mux.HandleFunc("POST "+pages.PathSignOut, e.form(e.signOut))
	mux.HandleFunc("GET "+oauth.PathEndSession, e.endSession)
	mux.HandleFunc("POST "+oauth.PathEndSession, e.endSessionPost)
}

// form admits forms of our own pages alone and reads them.
func (e *Endpoint) form(next func(w http.ResponseWriter, r *http.Request, form url.Values)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !e.Forms.Ours(r) {
			e.problem(w, r, http.StatusForbidden, "crossorigin", "the form was not sent from this site")
			return
		}
		form, err := forms.ReadForm(w, r)
		if err != nil {
			failure := httpx.AsError(err)
			e.problem(w, r, failure.Status, "form", failure.Description)
			return
		}
		next(w, r, form)
	}
}

// current is the session, nil when nobody is signed in; false when that cannot
// be told, and has been answered.
func (e *Endpoint) current(w http.ResponseWriter, r *http.Request) (*user.Session, bool) {
	session, err := e.Sessions.Current(r)
	if err != nil && !errors.Is(err, user.ErrNoSession) {
		e.fail(w, r, err)
		return nil, false
	}
	return session, true
}

// required is the session; when there is none the browser is sent to sign in
// and come back.
func (e *Endpoint) required(w http.ResponseWriter, r *http.Request) (*user.Session, bool) {
	session, ok := e.current(w, r)
	if ok && session == nil {
		redirect(w, pages.PathSignIn+"?"+url.Values{"continue": {pages.PathAuthorizedApps}}.Encode())
	}
	return session, ok && session != nil
}

func (e *Endpoint) problem(w http.ResponseWriter, r *http.Request, status int, kind, detail string) {
	e.Pages.Problem(w, r, e.Logger, pages.Problem{Status: status, View: pages.Error{Kind: kind, Code: oauth.CodeInvalidRequest, Detail: detail}})
}

func (e *Endpoint) fail(w http.ResponseWriter, r *http.Request, err error) {
	w.Header().Set("Retry-After", "2")
	e.Pages.Problem(w, r, e.Logger, pages.Problem{Status: http.StatusServiceUnavailable, Cause: err, View: pages.Error{Kind: "unavailable"}})
}

// redirect always says 303, so that no browser repeats a POST at the target.
func redirect(w http.ResponseWriter, location string) {
	pages.SetHeaders(w.Header())
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusSeeOther)
}
