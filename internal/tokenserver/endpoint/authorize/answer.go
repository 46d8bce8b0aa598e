// SPDX-License-Identifier: Apache-2.0

package authorize

import (
	"net/http"
	"net/url"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/pages"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// answer sends parameters to the app's redirect URI, with the request's state
// and our issuer (https://www.rfc-editor.org/rfc/rfc9207).
func (e *Endpoint) answer(w http.ResponseWriter, req *request, parameters url.Values) {
	if req.state != "" {
		parameters.Set("state", req.state)
	}
	parameters.Set("iss", e.Issuer)
	redirect(w, withParameters(req.redirectURI, parameters))
}

// redirect always says 303, so that no browser repeats a POST at the target
// (https://www.rfc-editor.org/rfc/rfc9700#section-4.12).
func redirect(w http.ResponseWriter, location string) {
	pages.SetHeaders(w.Header())
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusSeeOther)
}

// refuse writes a refusal: a page, or a redirect to the app of req.
func (e *Endpoint) refuse(w http.ResponseWriter, r *http.Request, req *request, refused *refusal) {
	if refused.kind == "" {
		e.answer(w, req, url.Values{"error": {refused.code}, "error_description": {refused.description}})
		return
	}
	e.Pages.Problem(w, r, e.Logger, pages.Problem{Status: refused.status,
		View: pages.Error{Kind: refused.kind, Args: refused.args, Code: refused.code, Detail: refused.description}})
}

// refuseUser says that the app is not open to the account. The person may have
// another one, so it is a page unless the app forbade pages.
func (e *Endpoint) refuseUser(w http.ResponseWriter, r *http.Request, f *flow, session *user.Session) {
	if f.prompts(promptNone) {
		e.refuse(w, r, f.request, refuse(oauth.CodeAccessDenied, "the app is not open to the user"))
		return
	}
	refused := page("audience", oauth.CodeAccessDenied, "the app is internal to its organization", f.app.Name, session.User.Username)
	e.Pages.Problem(w, r, e.Logger, pages.Problem{Status: http.StatusForbidden,
		View: pages.Error{Kind: refused.kind, Args: refused.args, Code: refused.code, Detail: refused.description,
			LinkURL: PathSignIn + "?" + url.Values{"continue": {f.self}}.Encode(), Link: e.Pages.Text().Get("signin.other_account")}})
}

// fail says that the server cannot go on, without saying why.
func (e *Endpoint) fail(w http.ResponseWriter, r *http.Request, err error) {
	w.Header().Set("Retry-After", "2")
	e.Pages.Problem(w, r, e.Logger, pages.Problem{Status: http.StatusServiceUnavailable, Cause: err, View: pages.Error{Kind: "unavailable"}})
}
