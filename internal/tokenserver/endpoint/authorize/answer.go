// SPDX-License-Identifier: Apache-2.0

package authorize

import (
	"net/http"
	"net/url"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/authrequest"
	"connectedapps.dev/operator/internal/tokenserver/pages"
	"connectedapps.dev/operator/internal/tokenserver/user"
	"connectedapps.dev/operator/internal/tokenserver/views"
)

// answer sends parameters to the app's redirect URI, with the request's state
// and our issuer (https://www.rfc-editor.org/rfc/rfc9207).
func (e *Endpoint) answer(w http.ResponseWriter, req *authrequest.Request, parameters url.Values) {
	if req.State != "" {
		parameters.Set("state", req.State)
	}
	parameters.Set("iss", e.Issuer)
	redirect(w, authrequest.WithParameters(req.RedirectURI, parameters))
}

// redirect always says 303, so that no browser repeats a POST at the target
// (https://www.rfc-editor.org/rfc/rfc9700#section-4.12).
func redirect(w http.ResponseWriter, location string) {
	pages.SetHeaders(w.Header())
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusSeeOther)
}

// refuse writes a refusal: a page, or a redirect to the app of req.
func (e *Endpoint) refuse(w http.ResponseWriter, r *http.Request, req *authrequest.Request, refused *authrequest.Refusal) {
	if refused.Kind == "" {
		e.answer(w, req, url.Values{"error": {refused.Code}, "error_description": {refused.Description}})
		return
	}
	e.Pages.Problem(w, r, e.Logger, pages.Problem{Status: refused.Status, View: e.errorView(refused)})
}

func (e *Endpoint) errorView(refused *authrequest.Refusal) pages.Error {
	view := pages.Error{Kind: refused.Kind, Args: refused.Args, Code: refused.Code, Detail: refused.Description}
	if refused.App != nil {
		view.Brand = views.App(e.Directory.Load(), refused.App).Brand
	}
	return view
}

// refuseUser says that the app is not open to the account. The person may have
// another one, so it is a page unless the app forbade pages.
func (e *Endpoint) refuseUser(w http.ResponseWriter, r *http.Request, f *authrequest.Flow, session *user.Session) {
	if f.Prompts(authrequest.PromptNone) {
		e.refuse(w, r, f.Request, authrequest.Refuse(oauth.CodeAccessDenied, "the app is not open to the user"))
		return
	}
	refused := authrequest.Page("audience", oauth.CodeAccessDenied, "the app is internal to its organization", f.App.Name, session.User.Username)
	refused.App = f.App
	view := e.errorView(refused)
	view.LinkURL, view.Link = pages.PathSignIn+"?"+url.Values{"continue": {f.Self}}.Encode(), e.Pages.Text().Get("signin.other_account")
	e.Pages.Problem(w, r, e.Logger, pages.Problem{Status: http.StatusForbidden, View: view})
}

// fail says that the server cannot go on, without saying why.
func (e *Endpoint) fail(w http.ResponseWriter, r *http.Request, err error) {
	w.Header().Set("Retry-After", "2")
	e.Pages.Problem(w, r, e.Logger, pages.Problem{Status: http.StatusServiceUnavailable, Cause: err, View: pages.Error{Kind: "unavailable"}})
}
