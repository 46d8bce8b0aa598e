// SPDX-License-Identifier: Apache-2.0

package authorize

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/audit"
	"connectedapps.dev/operator/internal/tokenserver/ended"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// codeLifetime is what RFC 6749 section 4.1.2 calls short.
const codeLifetime = time.Minute

// decide receives the form of the Authorize App page. Everything the page was
// shown for is checked again: app, address, session and form may have changed.
func (e *Endpoint) decide(w http.ResponseWriter, r *http.Request) {
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		refused := page("crossorigin", oauth.CodeInvalidRequest, "the form was not sent from this site")
		refused.status = http.StatusForbidden
		e.refuse(w, r, nil, refused)
		return
	}
	form, refused := formBody(w, r)
	if refused != nil {
		e.refuse(w, r, nil, refused)
		return
	}
	query, ok := LocalQuery(form.Get("continue"))
	if !ok {
		e.refuse(w, r, nil, page("request", oauth.CodeInvalidRequest, "continue is not an authorization request"))
		return
	}
	f, refused, err := e.open(r, query)
	switch {
	case err != nil:
		e.fail(w, r, err)
	case refused != nil:
		e.refuse(w, r, f.request, refused)
	default:
		e.decideFlow(w, r, f, form)
	}
}

// LocalQuery is the query of a local address of an authorization request; false
// for any other address.
func LocalQuery(address string) (url.Values, bool) {
	raw, ok := strings.CutPrefix(address, oauth.PathAuthorize+"?")
	if !ok {
		return nil, false
	}
	query, err := url.ParseQuery(raw)
	return query, err == nil
}

func (e *Endpoint) decideFlow(w http.ResponseWriter, r *http.Request, f *flow, form url.Values) {
	session, err := e.Sessions.Current(r)
	if errors.Is(err, user.ErrNoSession) {
		redirect(w, PathSignIn+"?"+url.Values{"continue": {f.self}}.Encode())
		return
	}
	if err != nil {
		e.fail(w, r, err)
		return
	}
	if err := user.Admits(f.app, session.User); err != nil {
		e.refuseUser(w, r, f, session)
		return
	}
	granted, cleared := chosen(f.scopes, form["scope"])
	switch {
	case !e.Forms.Valid(r, session, "consent", f.asked(), form.Get("form_token")):
		e.ask(w, r, f, session, e.Pages.Text().Get("consent.expired"), cleared)
	case form.Get("decision") == "refuse":
		e.record(r, f, session, audit.AuthorizationDenied, f.scopes)
		e.refuse(w, r, f.request, refuse(oauth.CodeAccessDenied, "the user refused the access"))
	case form.Get("decision") != "approve" || len(granted) == 0:
		e.ask(w, r, f, session, e.Pages.Text().Get("consent.nothing"), nil)
	default:
		if err := e.Consents.Allow(r.Context(), session.User, f.app, granted); err != nil {
			e.fail(w, r, fmt.Errorf("storing consent: %w", err))
			return
		}
		e.record(r, f, session, audit.AuthorizationApproved, granted)
		e.approve(w, r, f, session, granted)
	}
}

// chosen splits the asked scopes into those kept and those cleared.
func chosen(asked, kept []string) (granted, cleared []string) {
	for _, name := range asked {
		if required(name, asked) || slices.Contains(kept, name) {
			granted = append(granted, name)
		} else {
			cleared = append(cleared, name)
		}
	}
	return granted, cleared
}

// approve makes a code for the granted scopes and sends it to the app.
func (e *Endpoint) approve(w http.ResponseWriter, r *http.Request, f *flow, session *user.Session, granted []string) {
	// First the epochs, then the checks again: what ends in between ends the code.
	epochs := e.Ended.Epochs(ended.Holder{ClientID: f.app.ClientID, OrganizationID: f.app.OrgID, UserID: session.User.ID})
	if err := e.still(r, f); err != nil {
		e.fail(w, r, err)
		return
	}
	code, now := randomText(), e.Now()
	err := e.Codes.CreateCode(r.Context(), storage.AuthorizationCode{Hash: hash(code), ClientID: f.app.ClientID,
		UserID: session.User.ID, OrgID: session.User.OrganizationID, RedirectURI: f.givenURI, Scopes: granted, Challenge: f.challenge,
		Nonce: f.nonce, AuthTime: session.AuthTime, SessionID: session.ID, GrantID: uuid.NewString(), Epochs: epochs, CreatedAt: now,
		ExpiresAt: now.Add(codeLifetime)})
	if err != nil {
		e.fail(w, r, fmt.Errorf("storing authorization code: %w", err))
		return
	}
	e.answer(w, f.request, url.Values{"code": {code}})
}

// still tells whether session and app are what they were when the request began.
func (e *Endpoint) still(r *http.Request, f *flow) error {
	if _, err := e.Sessions.Current(r); err != nil {
		return fmt.Errorf("the session has ended meanwhile: %w", err)
	}
	present, ok := e.Apps.App(f.app.ClientID)
	if !ok || present.SecurityVersion != f.app.SecurityVersion {
		return errors.New("the app has changed meanwhile")
	}
	return e.Apps.Standing(present)
}

func (e *Endpoint) record(r *http.Request, f *flow, session *user.Session, action audit.Action, asked []string) {
	e.Audit.Record(r.Context(), audit.Event{Action: action, ClientID: f.app.ClientID, ClientName: f.app.Name, OrgID: f.app.OrgID,
		GrantTypes: []string{oauth.GrantAuthorizationCode}, SourceIP: audit.SourceIP(r), ActorSubject: session.User.ID, Scopes: asked})
}
