// SPDX-License-Identifier: Apache-2.0

package authorize

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/audit"
	"connectedapps.dev/operator/internal/tokenserver/authrequest"
	"connectedapps.dev/operator/internal/tokenserver/ended"
	"connectedapps.dev/operator/internal/tokenserver/scopes"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/text"
	"connectedapps.dev/operator/internal/tokenserver/user"
	"connectedapps.dev/operator/internal/tokenserver/views"
)

// codeLifetime is what RFC 6749 section 4.1.2 calls short.
const codeLifetime = time.Minute

// codeBytes are 256 random bits.
const codeBytes = 32

// decide receives the form of the Authorize App page. Everything the page was
// shown for is checked again: app, address, session and form may have changed.
func (e *Endpoint) decide(w http.ResponseWriter, r *http.Request) {
	if !e.Forms.Ours(r) {
		refused := authrequest.Page("crossorigin", oauth.CodeInvalidRequest, "the form was not sent from this site")
		refused.Status = http.StatusForbidden
		e.refuse(w, r, nil, refused)
		return
	}
	form, refused := formBody(w, r, "form", maxDecision)
	if refused != nil {
		e.refuse(w, r, nil, refused)
		return
	}
	query, ok := authrequest.LocalQuery(form.Get("continue"))
	if !ok {
		e.refuse(w, r, nil, authrequest.Page("form", oauth.CodeInvalidRequest, "continue is not an authorization request"))
		return
	}
	f, refused := e.Requests.Open(query)
	if refused != nil {
		e.refuse(w, r, f.Request, refused)
		return
	}
	e.decideFlow(w, r, f, form)
}

func (e *Endpoint) decideFlow(w http.ResponseWriter, r *http.Request, f *authrequest.Flow, form url.Values) {
	session, err := e.Sessions.Current(r)
	if errors.Is(err, user.ErrNoSession) {
		e.signIn(w, f)
		return
	}
	if err != nil {
		e.fail(w, r, err)
		return
	}
	if err := user.Admits(f.App, session.User); err != nil {
		e.refuseUser(w, r, f, session)
		return
	}
	granted, cleared := chosen(f.Scopes, form["scope"])
	stale := e.Forms.Check(r, session, "consent", asked(f), form.Get("form_token"))
	switch {
	case stale != nil:
		e.askAgain(w, r, f, session, stale, cleared)
	case form.Get("decision") == "refuse":
		e.record(r, f, session, audit.AuthorizationDenied, f.Scopes)
		e.refuse(w, r, f.Request, authrequest.Refuse(oauth.CodeAccessDenied, "the user refused the access"))
	case form.Get("decision") != "approve" || len(granted) == 0:
		e.ask(w, r, f, session, e.Pages.Text().Get("consent.nothing"), nil)
	default:
		epochs := e.epochs(f, session)
		if err := e.Consents.Allow(r.Context(), session.User, f.App, granted); err != nil {
			e.fail(w, r, fmt.Errorf("storing consent: %w", err))
			return
		}
		e.record(r, f, session, audit.AuthorizationApproved, granted)
		e.approve(w, r, f, session, granted, epochs)
	}
}

// askAgain shows the page anew when its form does not count, and says why. What
// the form says is not heard. When somebody has signed in since, in another
// window, the request goes on as if it came now: what was allowed there is not
// asked again.
func (e *Endpoint) askAgain(w http.ResponseWriter, r *http.Request, f *authrequest.Flow, session *user.Session, why error, cleared []string) {
	if errors.Is(why, user.ErrFormExpired) {
		e.ask(w, r, f, session, e.Pages.Text().Get("consent.expired"), cleared)
		return
	}
	e.proceed(w, r, f, e.Pages.Text().Get("consent.stale"))
}

// chosen splits the asked scopes into those kept and those cleared.
func chosen(asked, kept []string) (granted, cleared []string) {
	keeps := scopes.SetOf(kept)
	for _, name := range asked {
		if views.Required(name, asked) || keeps[name] {
			granted = append(granted, name)
		} else {
			cleared = append(cleared, name)
		}
	}
	return granted, cleared
}

// epochs are those to issue a code at. They are taken before the consent is looked
// at or put on record: who revokes the app in between ends the code.
func (e *Endpoint) epochs(f *authrequest.Flow, session *user.Session) storage.Epochs {
	return e.Ended.Epochs(ended.Holder{ClientID: f.App.ClientID, OrganizationID: f.App.OrgID, UserID: session.User.ID})
}

// approve makes a code for the granted scopes and sends it to the app.
func (e *Endpoint) approve(
	w http.ResponseWriter, r *http.Request, f *authrequest.Flow, session *user.Session, granted []string, epochs storage.Epochs,
) {
	// After the epochs: what ended before them is refused here, what ends after
	// them ends the code.
	if err := e.still(r, f); err != nil {
		e.fail(w, r, err)
		return
	}
	code, now := text.Random(codeBytes), e.Now()
	err := e.Codes.CreateCode(r.Context(), storage.AuthorizationCode{Hash: hash(code), ClientID: f.App.ClientID,
		UserID: session.User.ID, OrgID: session.User.OrganizationID, RedirectURI: f.GivenURI, Scopes: granted, Challenge: f.Challenge,
		Nonce: f.Nonce, AuthTime: session.AuthTime, SessionID: session.ID, GrantID: uuid.NewString(), Epochs: epochs, CreatedAt: now,
		ExpiresAt: now.Add(codeLifetime)})
	if err != nil {
		e.fail(w, r, fmt.Errorf("storing authorization code: %w", err))
		return
	}
	e.answer(w, f.Request, url.Values{"code": {code}})
}

// still tells whether session and app are what they were when the request began.
func (e *Endpoint) still(r *http.Request, f *authrequest.Flow) error {
	if _, err := e.Sessions.Current(r); err != nil {
		return fmt.Errorf("the session has ended meanwhile: %w", err)
	}
	present, ok := e.Requests.Apps.App(f.App.ClientID)
	if !ok || present.SecurityVersion != f.App.SecurityVersion {
		return errors.New("the app has changed meanwhile")
	}
	return e.Requests.Apps.Standing(present)
}

func (e *Endpoint) record(r *http.Request, f *authrequest.Flow, session *user.Session, action audit.Action, asked []string) {
	e.Audit.Record(r.Context(), audit.Event{Action: action, ClientID: f.App.ClientID, ClientName: f.App.Name, OrgID: f.App.OrgID,
		GrantTypes: []string{oauth.GrantAuthorizationCode}, SourceIP: audit.SourceIP(r), ActorSubject: session.User.ID, Scopes: asked})
}

func hash(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}
