// SPDX-License-Identifier: Apache-2.0

package authorize

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/audit"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/ended"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/pages"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// Paths of the pages that belong to an authorization.
const (
	// PathDecision receives the decision made on the Authorize App page.
	PathDecision = "/accounts/authorize-app"
	// PathSignIn is the sign-in page; it comes back to its continue parameter.
	PathSignIn = "/accounts/sign-in"
)

// maxParameters bounds a request that comes by POST, in bytes.
const maxParameters = 16 << 10

// IDTokenHint is what an id_token_hint proves: it was issued here.
type IDTokenHint struct{ Subject, ClientID, SessionID string }

// Endpoint serves authorization requests and the decisions on them.
type Endpoint struct {
	// Issuer is the iss of every response.
	Issuer    string
	Apps      Apps
	Directory *directory.Live
	Sessions  *user.Sessions
	Forms     *user.Forms
	Consents  *user.Consents
	Codes     storage.AuthorizationCodes
	Pending   storage.PendingAuthorizations
	// Hint verifies an id token of ours, expired or not.
	Hint func(raw string) (IDTokenHint, error)
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
	mux.HandleFunc("POST "+PathDecision, e.decide)
}

// flow is an authorization request on its way.
type flow struct {
	*request
	// self is the local address of the request, without a proof of interaction:
	// where the sign-in page comes back to, and what forms are bound to.
	self string
	// interaction proves what the person has just done at the sign-in page.
	interaction string
}

// asked is what the person is asked about: the request, and the security version
// of the app that the page shows. An answer to another one counts for nothing.
func (f *flow) asked() string { return f.self + " " + strconv.FormatInt(f.app.SecurityVersion, 10) }

// get goes as far as it can without asking the person.
func (e *Endpoint) get(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		e.refuse(w, r, nil, page("request", oauth.CodeInvalidRequest, "the query is malformed"))
		return
	}
	f, refused, err := e.open(r, query)
	switch {
	case err != nil:
		e.fail(w, r, err)
	case refused != nil:
		e.refuse(w, r, f.request, refused)
	default:
		e.proceed(w, r, f)
	}
}

// open reads the request that a local query stands for. The flow is never nil
// when there is a refusal; its request may be.
func (e *Endpoint) open(r *http.Request, query url.Values) (*flow, *refusal, error) {
	f := &flow{interaction: query.Get("interaction")}
	query.Del("interaction")
	f.self = oauth.PathAuthorize + "?" + query.Encode()
	parameters := query
	if query.Has("pending") {
		stored, refused, err := e.pending(r, query.Get("pending"))
		if err != nil || refused != nil {
			return f, refused, err
		}
		parameters, f.self = stored, oauth.PathAuthorize+"?"+url.Values{"pending": query["pending"]}.Encode()
	}
	var refused *refusal
	f.request, refused = parse(e.Apps, parameters)
	return f, refused, nil
}

// post stores the request and has the browser fetch it: the session's cookie
// does not come along with a POST from another site.
func (e *Endpoint) post(w http.ResponseWriter, r *http.Request) {
	parameters, refused := formBody(w, r)
	if refused != nil {
		e.refuse(w, r, nil, refused)
		return
	}
	req, refused := parse(e.Apps, parameters)
	if refused != nil {
		e.refuse(w, r, req, refused)
		return
	}
	id, err := e.store(r, req.app.ClientID, parameters)
	if err != nil {
		e.fail(w, r, err)
		return
	}
	redirect(w, oauth.PathAuthorize+"?"+url.Values{"pending": {id}}.Encode())
}

func formBody(w http.ResponseWriter, r *http.Request) (url.Values, *refusal) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		refused := page("request", oauth.CodeInvalidRequest, "the body must be application/x-www-form-urlencoded")
		refused.status = http.StatusUnsupportedMediaType
		return nil, refused
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxParameters))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		refused := page("request", oauth.CodeInvalidRequest, "the body is larger than 16 KiB")
		refused.status = http.StatusRequestEntityTooLarge
		return nil, refused
	}
	if err != nil {
		return nil, page("request", oauth.CodeInvalidRequest, "the body cannot be read")
	}
	parameters, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, page("request", oauth.CodeInvalidRequest, "the body is malformed")
	}
	return parameters, nil
}

// proceed asks the person what is left to ask, or answers the app.
func (e *Endpoint) proceed(w http.ResponseWriter, r *http.Request, f *flow) {
	session, err := e.Sessions.Current(r)
	if err != nil && !errors.Is(err, user.ErrNoSession) {
		e.fail(w, r, err)
		return
	}
	need := e.need(f, session)
	switch {
	case need != nothing && f.prompts(promptNone):
		e.refuse(w, r, f.request, refuse(oauth.CodeLoginRequired, "the user has to sign in"))
		return
	case need != nothing:
		redirect(w, PathSignIn+"?"+url.Values{"continue": {f.self}}.Encode())
		return
	case !e.expected(f.request, session):
		e.refuse(w, r, f.request, refuse(oauth.CodeLoginRequired, "another user has signed in than id_token_hint names"))
		return
	}
	if err := user.Admits(f.app, session.User); err != nil {
		e.refuseUser(w, r, f, session)
		return
	}
	covered, err := e.Consents.Covers(r.Context(), session.User, f.app, f.redirectURI, f.scopes)
	switch {
	case err != nil:
		e.fail(w, r, err)
	case covered != user.Uncovered && !f.prompts(promptConsent):
		e.goOn(w, r, f, session, covered)
	case f.prompts(promptNone):
		e.refuse(w, r, f.request, refuse(oauth.CodeConsentRequired, "the user has to allow the access"))
	default:
		e.ask(w, r, f, session, "", nil)
	}
}

// goOn needs no page. What an administrator has allowed is put on record, so that
// the person sees the app among the authorized ones and can revoke it.
func (e *Endpoint) goOn(w http.ResponseWriter, r *http.Request, f *flow, session *user.Session, covered user.Coverage) {
	if covered == user.Skipped {
		if err := e.Consents.Allow(r.Context(), session.User, f.app, f.scopes); err != nil {
			e.fail(w, r, fmt.Errorf("storing consent: %w", err))
			return
		}
	}
	e.approve(w, r, f, session, f.scopes)
}

// ask shows the Authorize App page. refused are the scopes cleared so far.
func (e *Endpoint) ask(w http.ResponseWriter, r *http.Request, f *flow, session *user.Session, notice string, refused []string) {
	dir, text := e.Directory.Load(), e.Pages.Text()
	view := pages.Consent{
		App: AppView(dir, f.app), Account: AccountView(dir, session.User),
		Foreign: f.app.OrgID != session.User.OrganizationID, Device: user.OnDevice(f.app, f.redirectURI),
		RedirectHost: destination(text, f.redirectURI), Groups: groups(text, f.scopes, refused), Notice: notice,
		SwitchURL: PathSignIn + "?" + url.Values{"continue": {f.self}}.Encode(),
		Continue:  f.self, FormToken: e.Forms.Token(w, r, session, "consent", f.asked()),
	}
	e.Pages.Consent(w, http.StatusOK, view, pages.FormTarget(f.redirectURI))
}
