// SPDX-License-Identifier: Apache-2.0

package session

import (
	"net/http"
	"net/url"
	"strings"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/authrequest"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/pages"
	"connectedapps.dev/operator/internal/tokenserver/user"
	"connectedapps.dev/operator/internal/tokenserver/views"
)

// ending is a checked request to end the session.
type ending struct {
	// app asked for it; nil: nobody we know did.
	app *clients.App
	// hint is what id_token_hint proves; zero: nothing.
	hint authrequest.IDTokenHint
	// asked tells that the request names a place to go on to; target is that
	// place when the app has registered it, else empty.
	asked  bool
	target string
	// self is the local address of the request.
	self string
}

// endingParameters are those of a request that mean something here and have a
// value; all others are somebody else's.
func endingParameters(query url.Values) url.Values {
	kept := url.Values{}
	for _, name := range []string{"id_token_hint", "client_id", "post_logout_redirect_uri", "state"} {
		for _, value := range query[name] {
			if value != "" {
				kept.Add(name, value)
			}
		}
	}
	return kept
}

// parseEnding checks the parameters of RP-initiated logout; what is wrong with
// them is returned as text for the developer.
func (e *Endpoint) parseEnding(query url.Values) (ending, string) {
	query = endingParameters(query)
	for name, values := range query {
		if len(values) > 1 {
			return ending{}, name + " occurs more than once"
		}
	}
	end := ending{self: oauth.PathEndSession + "?" + query.Encode(), asked: query.Get("post_logout_redirect_uri") != ""}
	clientID := query.Get("client_id")
	if raw := query.Get("id_token_hint"); raw != "" {
		// A hint that proves nothing is as good as none: the person is asked.
		end.hint, _ = e.Hint(raw)
		if clientID != "" && end.hint.ClientID != "" && end.hint.ClientID != clientID {
			return ending{}, "id_token_hint was issued to another app than client_id"
		}
		if clientID == "" {
			clientID = end.hint.ClientID
		}
	}
	// One that may do nothing at present sends nobody anywhere either.
	if app, ok := e.Apps.App(clientID); ok && e.Apps.Standing(app) == nil {
		end.app = app
		end.target = target(app, query)
	}
	return end, ""
}

// target is where the app may have the browser sent, with its state.
func target(app *clients.App, query url.Values) string {
	uri := query.Get("post_logout_redirect_uri")
	if uri == "" || !authrequest.Registered(app.PostLogoutRedirectURIs, uri) {
		return ""
	}
	if state := query.Get("state"); state != "" {
		return authrequest.WithParameters(uri, url.Values{"state": {state}})
	}
	return uri
}

// endSession signs out at once when the app proves that it speaks of the
// session's user, and asks otherwise.
func (e *Endpoint) endSession(w http.ResponseWriter, r *http.Request) {
	end, wrong := e.parseEnding(r.URL.Query())
	if wrong != "" {
		e.problem(w, r, http.StatusBadRequest, "request", wrong)
		return
	}
	session, ok := e.current(w, r)
	switch {
	case !ok:
	case session == nil || end.hint.Subject == session.User.ID:
		e.end(w, r, session, end)
	default:
		e.askSignOut(w, r, session, end)
	}
}

// endSessionPost has the browser repeat the request as GET, since the session's
// cookie does not come along with a POST from another site.
func (e *Endpoint) endSessionPost(w http.ResponseWriter, r *http.Request) {
	form, err := forms.ReadForm(w, r)
	if err != nil {
		failure := httpx.AsError(err)
		e.problem(w, r, failure.Status, "request", failure.Description)
		return
	}
	redirect(w, oauth.PathEndSession+"?"+form.Encode())
}

func (e *Endpoint) showSignOut(w http.ResponseWriter, r *http.Request) {
	if session, ok := e.current(w, r); ok && session == nil {
		e.Pages.SignedOut(w, pages.SignedOut{Nobody: true})
	} else if ok {
		e.askSignOut(w, r, session, ending{})
	}
}

func (e *Endpoint) askSignOut(w http.ResponseWriter, r *http.Request, session *user.Session, end ending) {
	dir := e.Directory.Load()
	view := pages.SignOut{Account: views.Account(dir, session.User), Continue: end.self,
		FormToken: e.Forms.Token(w, r, session, account, "")}
	if end.app != nil {
		app := views.App(dir, end.app)
		view.App = &app
	}
	var targets []string
	if end.target != "" {
		targets = append(targets, pages.FormTarget(end.target))
	}
	e.Pages.SignOut(w, view, targets...)
}

// signOut receives the person's own decision.
func (e *Endpoint) signOut(w http.ResponseWriter, r *http.Request, form url.Values) {
	end := ending{}
	if raw, ok := strings.CutPrefix(form.Get("continue"), oauth.PathEndSession+"?"); ok {
		query, err := httpx.ParseForm(raw)
		if err == nil {
			end, _ = e.parseEnding(query)
		}
	}
	session, ok := e.current(w, r)
	switch {
	case !ok:
	case session != nil && e.Forms.Check(r, session, account, "", form.Get("form_token")) != nil:
		e.askSignOut(w, r, session, end)
	default:
		e.end(w, r, session, end)
	}
}

// end ends the session of the browser, and the one that the hint names, which
// may be another browser's; then it goes where the app asked to.
func (e *Endpoint) end(w http.ResponseWriter, r *http.Request, session *user.Session, end ending) {
	err := e.Sessions.End(w, r)
	if err == nil && end.hint.SessionID != "" {
		err = e.Sessions.EndByID(r.Context(), end.hint.SessionID)
	}
	if err != nil {
		e.fail(w, r, err)
		return
	}
	switch {
	case end.target != "":
		redirect(w, end.target)
	case end.asked:
		e.problem(w, r, http.StatusBadRequest, "logout",
			"post_logout_redirect_uri is not registered, or neither client_id nor a valid id_token_hint says for which app")
	default:
		e.Pages.SignedOut(w, pages.SignedOut{Nobody: session == nil && end.hint.SessionID == ""})
	}
}
