// SPDX-License-Identifier: Apache-2.0

package authorize

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/audit"
	"connectedapps.dev/operator/internal/tokenserver/authrequest"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/ended"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/pages"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/user"
	"connectedapps.dev/operator/internal/tokenserver/views"
)

// maxDecision bounds the form of the Authorize App page: it holds the address of
// the request and every scope that was kept.
var maxDecision = httpx.FormLimits{Bytes: 256 << 10, Parameters: 1100}

// maxRequest bounds a request that comes by POST, which becomes an address.
var maxRequest = httpx.FormLimits{Bytes: authrequest.MaxParameters, Parameters: httpx.MaxParameters}

// Endpoint serves authorization requests and the decisions on them.
type Endpoint struct {
	// Issuer is the iss of every response.
	Issuer    string
	Requests  *authrequest.Requests
	Directory *directory.Live
	Sessions  *user.Sessions
	Forms     *user.Forms
	Consents  *user.Consents
	Codes     storage.AuthorizationCodes
	// Ended tells the epochs that codes are issued at.
	Ended  *ended.Ledger
	Pages  *pages.Renderer
	Audit  *audit.Log
	Logger *slog.Logger
	Now    func() time.Time
}

// Mount adds the endpoint's paths to mux.
func (e *Endpoint) Mount(mux httpx.Router) {
	mux.HandleFunc("GET "+oauth.PathAuthorize, e.get)
	mux.HandleFunc("POST "+oauth.PathAuthorize, e.post)
	mux.HandleFunc("POST "+pages.PathDecision, e.decide)
}

// asked is what the person is asked about: the request, and the security version
// of the app that the page shows. An answer to another one counts for nothing.
func asked(f *authrequest.Flow) string {
	return f.Self + " " + strconv.FormatInt(f.App.SecurityVersion, 10)
}

// get goes as far as it can without asking the person.
func (e *Endpoint) get(w http.ResponseWriter, r *http.Request) {
	query, err := httpx.ParseForm(r.URL.RawQuery)
	if err != nil {
		e.refuse(w, r, nil, authrequest.Page("request", oauth.CodeInvalidRequest, err.Error()))
		return
	}
	f, refused := e.Requests.Open(query)
	if refused != nil {
		e.refuse(w, r, f.Request, refused)
		return
	}
	// To look makes no code: HEAD is told what a browser without a session is.
	if r.Method == http.MethodHead {
		e.look(w, r, f)
		return
	}
	e.proceed(w, r, f, "")
}

// look says where a request leads that nobody is signed in for.
func (e *Endpoint) look(w http.ResponseWriter, r *http.Request, f *authrequest.Flow) {
	if f.Prompts(authrequest.PromptNone) {
		e.refuse(w, r, f.Request, authrequest.Refuse(oauth.CodeLoginRequired, "the user has to sign in"))
		return
	}
	e.signIn(w, f)
}

// post seals the request into an address and has the browser fetch it: the
// session's cookie does not come along with a POST from another site.
func (e *Endpoint) post(w http.ResponseWriter, r *http.Request) {
	parameters, refused := formBody(w, r, "request", maxRequest)
	if refused != nil {
		e.refuse(w, r, nil, refused)
		return
	}
	f, refused := e.Requests.Open(parameters)
	if refused != nil {
		e.refuse(w, r, f.Request, refused)
		return
	}
	address, err := e.Requests.Sealed(parameters)
	if err != nil {
		e.fail(w, r, err)
		return
	}
	redirect(w, address)
}

// formBody reads a form. What is wrong with it is a page of that kind.
func formBody(w http.ResponseWriter, r *http.Request, kind string, limits httpx.FormLimits) (url.Values, *authrequest.Refusal) {
	values, err := limits.ReadForm(w, r)
	if err == nil {
		return values, nil
	}
	failure := httpx.AsError(err)
	refused := authrequest.Page(kind, oauth.CodeInvalidRequest, failure.Description)
	refused.Status = failure.Status
	return nil, refused
}

// proceed asks the person what is left to ask, with a notice on the page, or
// answers the app.
func (e *Endpoint) proceed(w http.ResponseWriter, r *http.Request, f *authrequest.Flow, notice string) {
	session, err := e.Sessions.Current(r)
	if err != nil && !errors.Is(err, user.ErrNoSession) {
		e.fail(w, r, err)
		return
	}
	need := e.Requests.Need(f, session)
	switch {
	case need != authrequest.Nothing && f.Prompts(authrequest.PromptNone):
		e.refuse(w, r, f.Request, authrequest.Refuse(oauth.CodeLoginRequired, "the user has to sign in"))
		return
	case need != authrequest.Nothing:
		e.signIn(w, f)
		return
	case !e.Requests.Expects(f.Request, session):
		e.refuse(w, r, f.Request, authrequest.Refuse(oauth.CodeLoginRequired, "another user has signed in than id_token_hint names"))
		return
	}
	if err := user.Admits(f.App, session.User); err != nil {
		e.refuseUser(w, r, f, session)
		return
	}
	epochs := e.epochs(f, session)
	covered, err := e.covered(r, f, session)
	switch {
	case err != nil:
		e.fail(w, r, err)
	case covered != user.Uncovered:
		e.goOn(w, r, f, session, covered, epochs)
	case f.Prompts(authrequest.PromptNone):
		e.refuse(w, r, f.Request, authrequest.Refuse(oauth.CodeConsentRequired, "the user has to allow the access"))
	default:
		e.ask(w, r, f, session, notice, nil)
	}
}

// covered tells whether nothing is left to ask the person of the session.
func (e *Endpoint) covered(r *http.Request, f *authrequest.Flow, session *user.Session) (user.Coverage, error) {
	if f.Prompts(authrequest.PromptConsent) {
		return user.Uncovered, nil
	}
	return e.Consents.Covers(r.Context(), session.User, f.App, f.RedirectURI, f.Scopes)
}

// goOn needs no page. What an administrator has allowed is put on record, so that
// the person sees the app among the authorized ones and can revoke it.
func (e *Endpoint) goOn(
	w http.ResponseWriter, r *http.Request, f *authrequest.Flow, session *user.Session, covered user.Coverage, epochs storage.Epochs,
) {
	if covered == user.Skipped {
		if err := e.Consents.Allow(r.Context(), session.User, f.App, f.Scopes); err != nil {
			e.fail(w, r, fmt.Errorf("storing consent: %w", err))
			return
		}
	}
	e.approve(w, r, f, session, f.Scopes, epochs)
}

// signIn sends the person to the sign-in page and back.
func (e *Endpoint) signIn(w http.ResponseWriter, f *authrequest.Flow) {
	redirect(w, pages.PathSignIn+"?"+url.Values{"continue": {f.Self}}.Encode())
}

// ask shows the Authorize App page. refused are the scopes cleared so far.
func (e *Endpoint) ask(w http.ResponseWriter, r *http.Request, f *authrequest.Flow, session *user.Session, notice string, refused []string) {
	dir, text := e.Directory.Load(), e.Pages.Text()
	view := pages.Consent{
		App: views.App(dir, f.App), Account: views.Account(dir, session.User),
		Foreign: f.App.OrgID != session.User.OrganizationID, Device: user.OnDevice(f.App, f.RedirectURI),
		RedirectHost: views.Destination(text, f.RedirectURI), Groups: views.Groups(text, f.Scopes, refused), Notice: notice,
		SwitchURL: pages.PathSignIn + "?" + url.Values{"continue": {f.Self}}.Encode(),
		Continue:  f.Self, FormToken: e.Forms.Token(w, r, session, "consent", asked(f)),
	}
	e.Pages.Consent(w, http.StatusOK, view, pages.FormTarget(f.RedirectURI))
}
