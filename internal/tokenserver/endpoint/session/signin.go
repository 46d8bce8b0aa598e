// SPDX-License-Identifier: Apache-2.0

package session

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"connectedapps.dev/operator/internal/tokenserver/authrequest"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/pages"
	"connectedapps.dev/operator/internal/tokenserver/user"
	"connectedapps.dev/operator/internal/tokenserver/views"
)

// visit is one look at the sign-in page: where it leads, and who asks.
type visit struct {
	session *user.Session
	// address is where it goes on; asking is the request behind it, nil when it
	// is no authorization request.
	address string
	asking  *authrequest.Flow
	// reauthenticate says that an account in use is not enough.
	reauthenticate bool
}

// visit reads where a sign-in leads. An address that is not one of ours counts
// as none, so that nobody is sent elsewhere.
func (e *Endpoint) visit(session *user.Session, address string) visit {
	v := visit{session: session, address: address, asking: e.Requests.At(address)}
	if _, authorization := authrequest.LocalQuery(address); !authorization && address != pages.PathAuthorizedApps {
		v.address = ""
	}
	v.reauthenticate = v.asking != nil && session != nil && e.Requests.Need(v.asking, session) == authrequest.Password
	return v
}

// entry is what somebody has typed into the page, and how it comes back.
type entry struct {
	username string
	// password comes back only where the person asked to see or to hide it.
	password string
	visible  bool
	problems []pages.FieldError
}

// with adds a message at a field; an empty field is the form as a whole.
func (t entry) with(field, message string) entry {
	t.problems = append(t.problems, pages.FieldError{Field: field, Message: message})
	return t
}

func (e *Endpoint) showSignIn(w http.ResponseWriter, r *http.Request) {
	session, ok := e.current(w, r)
	if !ok {
		return
	}
	v := e.visit(session, r.URL.Query().Get("continue"))
	if session != nil && v.asking == nil {
		redirect(w, pages.PathAuthorizedApps)
		return
	}
	username := ""
	switch {
	case v.reauthenticate:
		username = session.User.Username
	case v.asking != nil:
		username = v.asking.LoginHint
	}
	e.writeSignIn(w, r, v, http.StatusOK, entry{username: username})
}

func (e *Endpoint) writeSignIn(w http.ResponseWriter, r *http.Request, v visit, status int, typed entry) {
	dir := e.Directory.Load()
	view := pages.SignIn{Username: typed.username, Password: typed.password, PasswordVisible: typed.visible, Errors: typed.problems,
		Continue: v.address, FormToken: e.Forms.Token(w, r, v.session, "sign-in", v.address)}
	var targets []string
	if v.asking != nil {
		app := views.App(dir, v.asking.App)
		view.App, view.Reauthenticate = &app, v.reauthenticate
		if !v.asking.AsksInAnyCase() {
			targets = append(targets, pages.FormTarget(v.asking.RedirectURI))
		}
	}
	if v.session != nil {
		current := views.Account(dir, v.session.User)
		view.Account = &current
	}
	e.Pages.SignIn(w, status, view, targets...)
}

func (e *Endpoint) signIn(w http.ResponseWriter, r *http.Request, form url.Values) {
	session, ok := e.current(w, r)
	if !ok {
		return
	}
	v := e.visit(session, form.Get("continue"))
	typed := entry{username: strings.TrimSpace(form.Get("username")), visible: form.Has("password_visible")}
	if err := e.Forms.Check(r, session, "sign-in", v.address, form.Get("form_token")); err != nil {
		e.signInAgain(w, r, v, typed, err)
		return
	}
	switch form.Get("action") {
	case "show", "hide":
		typed.visible, typed.password = form.Get("action") == "show", form.Get("password")
		e.writeSignIn(w, r, v, http.StatusOK, typed)
		return
	case "continue":
		if session != nil && v.asking != nil {
			redirect(w, e.Requests.Chosen(v.asking, session))
			return
		}
	}
	if typed.problems = missing(e.Pages.Text(), typed.username, form.Get("password")); len(typed.problems) > 0 {
		e.writeSignIn(w, r, v, http.StatusUnprocessableEntity, typed)
		return
	}
	e.checkPassword(w, r, v, typed, form.Get("password"))
}

// signInAgain answers a form that does not count. In a second window, or at a
// second click, the person has signed in already: they go on. Otherwise the page
// says why it asks again.
func (e *Endpoint) signInAgain(w http.ResponseWriter, r *http.Request, v visit, typed entry, why error) {
	if errors.Is(why, user.ErrFormStale) && v.session != nil && !v.reauthenticate && e.names(v, typed.username) {
		redirect(w, cmp.Or(v.address, pages.PathAuthorizedApps))
		return
	}
	key := "signin.stale"
	switch {
	case errors.Is(why, user.ErrFormNoCookie):
		key = "signin.cookies"
	case errors.Is(why, user.ErrFormExpired):
		key = "signin.expired"
	}
	e.writeSignIn(w, r, v, http.StatusUnprocessableEntity, typed.with("password", e.Pages.Text().Get(key)))
}

// names tells whether what was typed, if anything, means the user of the session.
// A plain name that several organizations have means the session's as well.
func (e *Endpoint) names(v visit, typed string) bool {
	u := v.session.User
	return typed == "" || e.Authenticator.Names(typed, u.OrganizationID, u)
}

func missing(text pages.Text, username, password string) []pages.FieldError {
	var problems []pages.FieldError
	if username == "" {
		problems = append(problems, pages.FieldError{Field: "username", Message: text.Get("signin.username_missing")})
	}
	if password == "" {
		problems = append(problems, pages.FieldError{Field: "password", Message: text.Get("signin.password_missing")})
	}
	return problems
}

func (e *Endpoint) checkPassword(w http.ResponseWriter, r *http.Request, v visit, typed entry, password string) {
	attempt := user.Attempt{Login: typed.username, Password: password}
	if v.asking != nil {
		attempt.OrgID = v.asking.App.OrgID
	}
	if e.Source != nil {
		attempt.Source = e.Source(r)
	}
	u, err := e.Authenticator.Authenticate(r.Context(), attempt)
	text, throttled := e.Pages.Text(), (*user.ThrottledError)(nil)
	switch {
	case err == nil:
		e.start(w, r, v, u)
	case errors.Is(err, user.ErrInvalidCredentials):
		e.writeSignIn(w, r, v, http.StatusUnprocessableEntity, typed.with("password", text.Get("signin.invalid")))
	case errors.As(err, &throttled):
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(throttled.RetryAfter.Seconds()))))
		e.writeSignIn(w, r, v, http.StatusTooManyRequests, typed.with("", text.Get("signin.throttled", text.Duration(throttled.RetryAfter))))
	case errors.Is(err, user.ErrBusy):
		w.Header().Set("Retry-After", "2")
		e.writeSignIn(w, r, v, http.StatusServiceUnavailable, typed.with("", text.Get("signin.busy")))
	default:
		e.fail(w, r, fmt.Errorf("checking password: %w", err))
	}
}

// start signs u in and goes where the sign-in leads.
func (e *Endpoint) start(w http.ResponseWriter, r *http.Request, v visit, u *directory.User) {
	session, err := e.Sessions.Start(w, r, u)
	switch {
	case err != nil:
		e.fail(w, r, err)
	case v.asking != nil:
		redirect(w, e.Requests.SignedIn(v.asking, session))
	default:
		redirect(w, cmp.Or(v.address, pages.PathAuthorizedApps))
	}
}
