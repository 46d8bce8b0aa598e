// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/endpoint/authorize"
	"connectedapps.dev/operator/internal/tokenserver/pages"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// visit is one look at the sign-in page: where it leads, and who asks.
type visit struct {
	session *user.Session
	// address is where it goes on; asking is the request behind it, nil when it
	// is no authorization request.
	address string
	asking  *authorize.Asking
}

// visit reads where a sign-in leads. An address that is not one of ours counts
// as none, so that nobody is sent elsewhere.
func (e *Endpoint) visit(r *http.Request, session *user.Session, address string) visit {
	v := visit{session: session, address: address, asking: e.Authorize.Asking(r, address, session)}
	if _, authorization := authorize.LocalQuery(address); !authorization && address != PathAuthorizedApps {
		v.address = ""
	}
	return v
}

func (e *Endpoint) showSignIn(w http.ResponseWriter, r *http.Request) {
	session, ok := e.current(w, r)
	if !ok {
		return
	}
	v := e.visit(r, session, r.URL.Query().Get("continue"))
	if session != nil && v.asking == nil {
		redirect(w, PathAuthorizedApps)
		return
	}
	username := ""
	switch {
	case session != nil && v.asking.Reauthenticate:
		username = session.User.Username
	case v.asking != nil:
		username = v.asking.LoginHint
	}
	e.writeSignIn(w, r, v, http.StatusOK, username)
}

func (e *Endpoint) writeSignIn(w http.ResponseWriter, r *http.Request, v visit, status int, username string, problems ...pages.FieldError) {
	dir := e.Directory.Load()
	view := pages.SignIn{Username: username, Errors: problems, Continue: v.address,
		FormToken: e.Forms.Token(w, r, v.session, "sign-in", v.address)}
	var targets []string
	if v.asking != nil {
		app := authorize.AppView(dir, v.asking.App)
		view.App, view.Reauthenticate = &app, v.asking.Reauthenticate
		targets = append(targets, pages.FormTarget(v.asking.RedirectURI))
	}
	if v.session != nil {
		current := authorize.AccountView(dir, v.session.User)
		view.Account = &current
	}
	e.Pages.SignIn(w, status, view, targets...)
}

func (e *Endpoint) signIn(w http.ResponseWriter, r *http.Request, form url.Values) {
	session, ok := e.current(w, r)
	if !ok {
		return
	}
	v, username := e.visit(r, session, form.Get("continue")), strings.TrimSpace(form.Get("username"))
	text := e.Pages.Text()
	switch {
	case !e.Forms.Valid(r, session, "sign-in", v.address, form.Get("form_token")):
		e.writeSignIn(w, r, v, http.StatusUnprocessableEntity, username, pages.FieldError{Field: "password", Message: text.Get("signin.expired")})
	case form.Get("action") == "continue" && session != nil && v.asking != nil:
		redirect(w, e.Authorize.Chosen(v.asking, session))
	default:
		if problems := missing(text, username, form.Get("password")); len(problems) > 0 {
			e.writeSignIn(w, r, v, http.StatusUnprocessableEntity, username, problems...)
			return
		}
		e.checkPassword(w, r, v, username, form.Get("password"))
	}
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

func (e *Endpoint) checkPassword(w http.ResponseWriter, r *http.Request, v visit, username, password string) {
	attempt := user.Attempt{Login: username, Password: password}
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
		e.writeSignIn(w, r, v, http.StatusUnprocessableEntity, username, pages.FieldError{Field: "password", Message: text.Get("signin.invalid")})
	case errors.As(err, &throttled):
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(throttled.RetryAfter.Seconds()))))
		e.writeSignIn(w, r, v, http.StatusTooManyRequests, username,
			pages.FieldError{Message: text.Get("signin.throttled", text.Duration(throttled.RetryAfter))})
	case errors.Is(err, user.ErrBusy):
		w.Header().Set("Retry-After", "2")
		e.writeSignIn(w, r, v, http.StatusServiceUnavailable, username, pages.FieldError{Message: text.Get("signin.busy")})
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
		redirect(w, e.Authorize.SignedIn(v.asking, session))
	case v.address != "":
		redirect(w, v.address)
	default:
		redirect(w, PathAuthorizedApps)
	}
}
